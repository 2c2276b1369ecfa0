-- Tasks whose workers die: how often in a row, and how often that may be.

ALTER TABLE pl_task ADD COLUMN losses INTEGER;        -- workers that died with a claim of it, since its last outcome
ALTER TABLE pl_task ADD COLUMN alone INTEGER;         -- 1: one loss is left; of such tasks each queue executes one
ALTER TABLE pl_task ADD COLUMN max_losses REAL;       -- NULL: as the queue says
ALTER TABLE pl_queue ADD COLUMN max_losses REAL CHECK (max_losses >= 1);
ALTER TABLE pl_stage ADD COLUMN max_losses INTEGER CHECK (max_losses >= 1);
CREATE INDEX pl_task_alone ON pl_task (state, queue, id) WHERE alone = 1;
