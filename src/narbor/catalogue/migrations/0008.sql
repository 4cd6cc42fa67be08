-- From the hash of a block to what it is the root of: eight bytes find the row, the query compares
-- the rest. In front of the hash stand version, codec, and the kind and length of the hash.
CREATE INDEX item_by_tree ON item (substr(tree, 5, 8));
CREATE INDEX item_by_archive_root ON item (substr(archive, 5, 8));
CREATE INDEX root_by_tree ON root (substr(tree, 5, 8));
CREATE INDEX root_by_archive ON root (substr(archive, 5, 8));
CREATE INDEX file_by_root ON file (substr(root, 5, 8));
CREATE INDEX tarball_by_root ON tarball (substr(root, 5, 8));
