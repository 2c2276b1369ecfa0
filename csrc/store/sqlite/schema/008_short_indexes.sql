-- Shorter entries of the two indexes that are written most. An index has the id of each row anyway, last, and is in
-- its order.
--
-- Rows of stages are shorter from here on, too: what is 0 in pl_stage.started is `created`, and what would be a default
-- (three attempts, 15 seconds, doubled) is NULL.

DROP INDEX pl_stage_root;
CREATE INDEX pl_stage_root ON pl_stage (root);
DROP INDEX pl_task_ready;
CREATE INDEX pl_task_ready ON pl_task (queue, priority DESC, eta) WHERE state = 0;
