-- The files of releases.

-- What a release consists of: names, and the UnixFS roots of their content, which lies in the packs
-- with that of items. `digest` is sha256, `modified` the time at which what it says was made.
CREATE TABLE file (
  release   INTEGER NOT NULL REFERENCES release ON DELETE CASCADE,
  name      TEXT NOT NULL,
  root      BLOB NOT NULL,
  digest    BLOB NOT NULL,
  size      INTEGER NOT NULL,
  modified  INTEGER NOT NULL,
  PRIMARY KEY (release, name)
) WITHOUT ROWID;

-- What a release should have had and has not, a file or the job it comes from, and why.
CREATE TABLE absence (
  release  INTEGER NOT NULL REFERENCES release ON DELETE CASCADE,
  what     TEXT NOT NULL,
  reason   TEXT NOT NULL,
  PRIMARY KEY (release, what)
) WITHOUT ROWID;
