-- Channels, releases and packages.

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
