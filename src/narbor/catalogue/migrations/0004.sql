-- Source tarballs.

-- Files that are fetched by their hash, by all the hashes they are asked for with. `root` is the
-- UnixFS root of the content, which lies in the packs with that of items.
CREATE TABLE tarball (
  id      INTEGER PRIMARY KEY,
  sha512  BLOB NOT NULL UNIQUE,
  sha256  BLOB NOT NULL,
  sha1    BLOB NOT NULL,
  md5     BLOB NOT NULL,
  root    BLOB NOT NULL,
  size    INTEGER NOT NULL
);

CREATE INDEX tarball_by_sha256 ON tarball (sha256);
CREATE INDEX tarball_by_sha1 ON tarball (sha1);
CREATE INDEX tarball_by_md5 ON tarball (md5);

-- Revisions (of nixpkgs) whose sources were asked for. A tarball stays while one of them has it.
CREATE TABLE revision (
  id    INTEGER PRIMARY KEY,
  name  TEXT NOT NULL UNIQUE,
  time  INTEGER NOT NULL
);

-- Which tarballs a revision has, and what they are called in it.
CREATE TABLE named (
  revision  INTEGER NOT NULL REFERENCES revision ON DELETE CASCADE,
  name      TEXT NOT NULL,
  tarball   INTEGER NOT NULL REFERENCES tarball,
  PRIMARY KEY (revision, name)
) WITHOUT ROWID;

CREATE INDEX named_by_tarball ON named (tarball);

-- Sources of a revision that are trees, from git say: store items like any other.
CREATE TABLE checkout (
  revision  INTEGER NOT NULL REFERENCES revision ON DELETE CASCADE,
  base      TEXT NOT NULL,
  PRIMARY KEY (revision, base)
) WITHOUT ROWID;

-- Which sources of a revision could not be had, and why. `what` is a hash, or an address.
CREATE TABLE unfetched (
  revision  INTEGER NOT NULL REFERENCES revision ON DELETE CASCADE,
  what      TEXT NOT NULL,
  name      TEXT NOT NULL,
  reason    TEXT NOT NULL,
  PRIMARY KEY (revision, what)
) WITHOUT ROWID;
