-- How many tasks of a queue a worker may execute at once, where it has claimed more than that: see queue/permits.c.

CREATE TABLE pl_permit (
  queue   INTEGER NOT NULL,
  worker  INTEGER NOT NULL REFERENCES pl_worker (id) ON DELETE CASCADE,
  permits INTEGER NOT NULL CHECK (permits >= 0),       -- 0: as many as it has claimed
  waits   INTEGER NOT NULL CHECK (waits IN (0, 1)),    -- 1: the others leave it too little
  asked   INTEGER NOT NULL DEFAULT 0 CHECK (asked IN (0, 1)), -- 1: it is to give back what it has not started
  PRIMARY KEY (queue, worker)
) WITHOUT ROWID;
CREATE INDEX pl_permit_worker ON pl_permit (worker);

-- Of tasks with losses none is claimed ahead. One that was claimed ahead when its worker died has 0: perhaps it had not
-- been started.
CREATE INDEX pl_task_losses ON pl_task (queue) WHERE losses IS NOT NULL AND state < 4;
