-- IPNS records, by name (binary CID): of our own names, the newest of each, as it goes out.
CREATE TABLE record (
  name  BLOB PRIMARY KEY,
  text  BLOB NOT NULL
) WITHOUT ROWID;
