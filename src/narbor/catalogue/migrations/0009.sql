-- The items that came with a root that is kept by name: they stay as long as the name does.
CREATE TABLE kept_item (
  name  TEXT NOT NULL,
  base  TEXT NOT NULL,
  PRIMARY KEY (name, base)
) WITHOUT ROWID;
