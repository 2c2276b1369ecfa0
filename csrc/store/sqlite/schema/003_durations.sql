-- Durations outlive a wall clock that is set: what ends after a while is told from what is due at a time of day.

ALTER TABLE pl_task ADD COLUMN is_retry INTEGER;      -- 1: eta ends a pause between two attempts
ALTER TABLE pl_task ADD COLUMN lease INTEGER;         -- PULL: the end of the lease as its holder knows it; NULL: eta
