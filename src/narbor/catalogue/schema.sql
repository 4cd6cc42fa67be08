-- The catalogue of a store, in SQLite: what is known of items. An item exists when, and only when,
-- its row in `item` does. This is the schema of a new store; `migrations/` brings older ones here.
--
-- Ids are small integers. Hash parts of store paths are 20 bytes: the 32 letters read as digits of
-- base 32, most significant first. Digests are their 32 bytes if they are sha256, else text
-- `ALGORITHM:BASE32`. CIDs are binary. Times are seconds since 1970.

-- Words that many rows share: store directories, profiles, upstreams. Rows never change.
CREATE TABLE word (
  id    INTEGER PRIMARY KEY,
  text  TEXT NOT NULL UNIQUE
);

-- One row an item, all that a door says of it, so that a look-up reads one row.
-- `refs` are base names joined by spaces, `signatures` are joined by line feeds, `extra` is a JSON
-- list of pairs. The roots are those of the first profile it was admitted under. `admission` is the
-- newest admission that recorded the item or met it: collection spares what an open one needs.
CREATE TABLE item (
  id          INTEGER PRIMARY KEY,
  hash        BLOB NOT NULL UNIQUE,
  name        TEXT NOT NULL,
  store       INTEGER NOT NULL REFERENCES word,
  nar_hash    BLOB NOT NULL,
  nar_size    INTEGER NOT NULL,
  refs        TEXT NOT NULL,
  deriver     TEXT,
  signatures  TEXT NOT NULL,
  ca          TEXT,
  extra       TEXT,
  profile     INTEGER NOT NULL REFERENCES word,
  tree        BLOB NOT NULL,
  archive     BLOB NOT NULL,
  origin      INTEGER NOT NULL REFERENCES word,
  admission   INTEGER NOT NULL
);

-- From a NarHash to its items. Eight bytes of it find the row, the query compares the rest.
CREATE INDEX item_by_archive ON item (substr(nar_hash, 1, 8));

-- One row: sums over `item`, kept in the same transactions, since summing a million rows is slow.
CREATE TABLE total (
  items     INTEGER NOT NULL,
  nar_size  INTEGER NOT NULL
);
INSERT INTO total VALUES (0, 0);

-- Items that are referred to and not here. Ids are shared with `item`: on arrival an item takes
-- the id under which it was missed, so edges need no change.
CREATE TABLE absent (
  id    INTEGER PRIMARY KEY,
  hash  BLOB NOT NULL UNIQUE
);

-- Who refers to `target` (in `item` or `absent`). No item has an edge to itself.
CREATE TABLE edge (
  target  INTEGER NOT NULL,
  item    INTEGER NOT NULL,
  PRIMARY KEY (target, item)
) WITHOUT ROWID;

-- Incomplete items, with the number of their edges whose target is absent or in this table.
-- A table of its own, because these rows change often and item rows are wide.
CREATE TABLE waiting (
  item     INTEGER PRIMARY KEY,
  lacking  INTEGER NOT NULL
);

-- Roots of items under further profiles.
CREATE TABLE root (
  item     INTEGER NOT NULL REFERENCES item ON DELETE CASCADE,
  profile  INTEGER NOT NULL REFERENCES word,
  tree     BLOB NOT NULL,
  archive  BLOB NOT NULL,
  PRIMARY KEY (item, profile)
) WITHOUT ROWID;

-- What upstreams said. `number` counts the different fingerprints of an item; 0 is the one under
-- which it was admitted, and only its signatures are united in `item`. An upstream that says the
-- same fingerprint in other words replaces its text. Both texts are deflated (raw, RFC 1951) with
-- a dictionary made of the item row (see rows.py).
CREATE TABLE claim (
  item         INTEGER NOT NULL REFERENCES item ON DELETE CASCADE,
  number       INTEGER NOT NULL,
  upstream     INTEGER NOT NULL REFERENCES word,
  time         INTEGER NOT NULL,
  fingerprint  BLOB NOT NULL,
  text         BLOB NOT NULL,
  PRIMARY KEY (item, number, upstream)
) WITHOUT ROWID;

-- Claims about items that are here which contradict them. `text` is deflated, without dictionary.
CREATE TABLE conflict (
  base      TEXT NOT NULL,
  upstream  INTEGER NOT NULL REFERENCES word,
  time      INTEGER NOT NULL,
  reason    TEXT NOT NULL,
  text      BLOB NOT NULL,
  PRIMARY KEY (base, upstream)
) WITHOUT ROWID;

-- Advertised renderings: a row never changes, it is retired.
CREATE TABLE rendering (
  item         INTEGER NOT NULL REFERENCES item ON DELETE CASCADE,
  compression  TEXT NOT NULL,
  digest       BLOB NOT NULL,
  size         INTEGER NOT NULL,
  PRIMARY KEY (item, compression)
) WITHOUT ROWID;

CREATE INDEX rendering_by_digest ON rendering (substr(digest, 1, 8));

-- Debug symbols: build id -> member path. Several items may carry one build id. No index by item:
-- removal scans once a batch.
CREATE TABLE build_id (
  id      BLOB NOT NULL,
  item    INTEGER NOT NULL,
  member  TEXT NOT NULL,
  PRIMARY KEY (id, item)
) WITHOUT ROWID;

-- What was asked for by name; it may not be here yet. `alone`: without its closure.
CREATE TABLE pin (
  hash   BLOB PRIMARY KEY,
  name   TEXT NOT NULL,
  time   INTEGER NOT NULL,
  alone  INTEGER NOT NULL
) WITHOUT ROWID;

-- What could not be had.
CREATE TABLE failure (
  base      TEXT NOT NULL,
  upstream  INTEGER NOT NULL REFERENCES word,
  time      INTEGER NOT NULL,
  reason    TEXT NOT NULL,
  PRIMARY KEY (base, upstream)
) WITHOUT ROWID;

-- Open admissions. Ids are never given twice, since collection compares them. `purpose`: see
-- Admission in values.py.
CREATE TABLE admission (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  time     INTEGER NOT NULL,
  process  TEXT NOT NULL,
  purpose  TEXT NOT NULL
);

-- Build logs by the derivation's base name, in the encoding they came in ('' for none). With row
-- ids, since texts are large: the names alone can be gone through.
CREATE TABLE log (
  name      TEXT PRIMARY KEY,
  encoding  TEXT NOT NULL,
  text      BLOB NOT NULL
);

-- Realisations of content-addressed derivations: `DRVHASH!OUTPUT` -> JSON text.
CREATE TABLE realisation (
  id    TEXT PRIMARY KEY,
  text  BLOB NOT NULL
) WITHOUT ROWID;

-- Channels that are followed. `current` is the release a channel is at, `reached` the name of the
-- newest one it was ever at: without being told to, it goes to newer ones only.
CREATE TABLE channel (
  id       INTEGER PRIMARY KEY,
  name     TEXT NOT NULL UNIQUE,
  current  INTEGER REFERENCES release,
  reached  TEXT,
  frozen   INTEGER NOT NULL,
  time     INTEGER NOT NULL
);

-- Releases of channels. `published` is null while a release is in the making. `source` is where it
-- was released from, an evaluation's address; `evaluation` its number, if it has one.
CREATE TABLE release (
  id          INTEGER PRIMARY KEY,
  channel     INTEGER NOT NULL REFERENCES channel,
  name        TEXT NOT NULL,
  evaluation  INTEGER,
  source      TEXT NOT NULL,
  revision    TEXT NOT NULL,
  time        INTEGER NOT NULL,
  published   INTEGER,
  UNIQUE (channel, name)
);

-- Store paths that releases speak of, whether they are here or not. Rows never change: releases
-- that follow each other share nineteen of twenty.
CREATE TABLE path (
  id    INTEGER PRIMARY KEY,
  hash  BLOB NOT NULL,
  name  TEXT NOT NULL,
  UNIQUE (hash, name)
);

-- What `store-paths` of a release lists.
CREATE TABLE listed (
  path     INTEGER NOT NULL REFERENCES path,
  release  INTEGER NOT NULL REFERENCES release,
  PRIMARY KEY (path, release)
) WITHOUT ROWID;

-- Packages as releases have them. `key` is the first half of a SHA-256 over all that is said of one
-- (see packages.py), so that releases share rows, which never change.
CREATE TABLE package (
  id           INTEGER PRIMARY KEY,
  key          BLOB NOT NULL UNIQUE,
  attribute    TEXT NOT NULL,
  system       INTEGER NOT NULL REFERENCES word,
  name         TEXT NOT NULL,
  description  TEXT NOT NULL
);

CREATE INDEX package_by_attribute ON package (attribute);

-- The outputs of a package that have a path; `number` is their order.
CREATE TABLE output (
  package  INTEGER NOT NULL REFERENCES package ON DELETE CASCADE,
  number   INTEGER NOT NULL,
  name     INTEGER NOT NULL REFERENCES word,
  path     INTEGER NOT NULL REFERENCES path,
  PRIMARY KEY (package, number)
) WITHOUT ROWID;

CREATE INDEX output_by_path ON output (path);

-- Which releases have a package.
CREATE TABLE offer (
  package  INTEGER NOT NULL REFERENCES package,
  release  INTEGER NOT NULL REFERENCES release,
  PRIMARY KEY (package, release)
) WITHOUT ROWID;

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

-- IPNS records, by name (binary CID): of our own names, the newest of each, as it goes out.
CREATE TABLE record (
  name  BLOB PRIMARY KEY,
  text  BLOB NOT NULL
) WITHOUT ROWID;

-- Roots of any DAG that came from elsewhere, by name: kept with all that hangs from them.
CREATE TABLE kept (
  name  TEXT PRIMARY KEY,
  root  BLOB NOT NULL,
  time  INTEGER NOT NULL
) WITHOUT ROWID;

-- The items that came with a root that is kept by name: they stay as long as the name does.
CREATE TABLE kept_item (
  name  TEXT NOT NULL,
  base  TEXT NOT NULL,
  PRIMARY KEY (name, base)
) WITHOUT ROWID;

-- From the hash of a block to what it is the root of: eight bytes find the row, the query compares
-- the rest. In front of the hash stand version, codec, and the kind and length of the hash.
CREATE INDEX item_by_tree ON item (substr(tree, 5, 8));
CREATE INDEX item_by_archive_root ON item (substr(archive, 5, 8));
CREATE INDEX root_by_tree ON root (substr(tree, 5, 8));
CREATE INDEX root_by_archive ON root (substr(archive, 5, 8));
CREATE INDEX file_by_root ON file (substr(root, 5, 8));
CREATE INDEX tarball_by_root ON tarball (substr(root, 5, 8));
