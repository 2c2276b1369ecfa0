-- One index of the tasks whose workers died, in place of two, and one that claiming a task does not touch: neither what
-- it is of nor what is in it changes then. A dead task has no losses.

UPDATE pl_task SET losses = NULL WHERE state = 4 AND losses IS NOT NULL;
DROP INDEX pl_task_alone;
DROP INDEX pl_task_losses;
CREATE INDEX pl_task_losses ON pl_task (alone, queue) WHERE losses IS NOT NULL;
