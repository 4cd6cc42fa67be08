-- Roots of published directories, by name: kept with all below them. `items` are in it, `hidden` are
-- not though they are in the catalogue, `horizon` is the admission from which on items may have come
-- since, `settings` is a digest of what else decides the content.
CREATE TABLE publication (
  name      TEXT PRIMARY KEY,
  root      BLOB NOT NULL,
  items     INTEGER NOT NULL,
  hidden    INTEGER NOT NULL,
  horizon   INTEGER NOT NULL,
  settings  TEXT NOT NULL,
  time      INTEGER NOT NULL
) WITHOUT ROWID;
