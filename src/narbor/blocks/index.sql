-- The index of the packs: a cache. It can be made again from the packs alone (narbor reindex).

CREATE TABLE pack (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used twice: readers keep places
    name    TEXT NOT NULL UNIQUE,
    indexed INTEGER NOT NULL,                   -- all frames before this offset stand below
    retired INTEGER                             -- when its last frame moved away: unlinked later
);

-- Blocks by key: 32 bytes of SHA-256 for a leaf, the codec as a varint before them for the rest.
CREATE TABLE block (
    id        INTEGER PRIMARY KEY,              -- marks of a collection are a bitmap over it
    key       BLOB NOT NULL UNIQUE,
    pack      INTEGER NOT NULL REFERENCES pack (id),
    offset    INTEGER NOT NULL,                 -- where the zstd frame begins
    length    INTEGER NOT NULL,                 -- bytes of the frame
    size      INTEGER NOT NULL,                 -- bytes of the block
    condemned INTEGER                           -- epoch of the collection that means to delete it
);

CREATE INDEX condemned_block ON block (condemned) WHERE condemned IS NOT NULL;
