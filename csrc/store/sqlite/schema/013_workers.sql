-- What is known of a worker: which queues it serves, and its version.

ALTER TABLE pl_worker ADD COLUMN serves TEXT;         -- names, each with a line break behind; '': none; NULL: all
ALTER TABLE pl_worker ADD COLUMN version TEXT;
