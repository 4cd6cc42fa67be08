-- Roots of any DAG that came from elsewhere, by name: kept with all that hangs from them.
CREATE TABLE kept (
  name  TEXT PRIMARY KEY,
  root  BLOB NOT NULL,
  time  INTEGER NOT NULL
) WITHOUT ROWID;
