-- Rows of tasks are written and deleted more than any others, and cost by the column. What is set for few tasks has a
-- row of its own from here on, where what is long had one before: the limits of a task that has its own.
--
-- The end of a lease is what tells it from the next one, as `claim` does for those that are claimed: it stands there.
-- What is short and what decides about indexes comes first, so that it is found without the rest.
--
-- Views of users over these tables are not looked at while these get their names: they need not fit any more.

PRAGMA legacy_alter_table = ON;
ALTER TABLE pl_task_large RENAME TO pl_task_detail;    -- of tasks with flag 1
ALTER TABLE pl_task_detail ADD COLUMN deadline REAL;   -- seconds for one dispatch
ALTER TABLE pl_task_detail ADD COLUMN retry_limit REAL;
ALTER TABLE pl_task_detail ADD COLUMN age_limit REAL;
ALTER TABLE pl_task_detail ADD COLUMN min_backoff REAL;
ALTER TABLE pl_task_detail ADD COLUMN max_backoff REAL;
ALTER TABLE pl_task_detail ADD COLUMN max_doublings REAL;
ALTER TABLE pl_task_detail ADD COLUMN max_losses REAL;
UPDATE pl_task_detail SET deadline = t.deadline, retry_limit = t.retry_limit, age_limit = t.age_limit,
  min_backoff = t.min_backoff, max_backoff = t.max_backoff, max_doublings = t.max_doublings, max_losses = t.max_losses
  FROM pl_task AS t WHERE t.id = task AND t.large = 1;
INSERT OR REPLACE INTO pl_task_detail (task, payload, request, deadline, retry_limit, age_limit, min_backoff,
  max_backoff, max_doublings, max_losses)
  SELECT id, payload, request, deadline, retry_limit, age_limit, min_backoff, max_backoff, max_doublings, max_losses
  FROM pl_task WHERE large = 0 AND coalesce(deadline, retry_limit, age_limit, min_backoff, max_backoff,
    max_doublings, max_losses) IS NOT NULL;

CREATE TABLE pl_task_new (
  id         INTEGER PRIMARY KEY,                  -- RUN, FINALIZE, ABORT: the id of the stage
  kind       INTEGER NOT NULL CHECK (kind BETWEEN 0 AND 6),
  state      INTEGER NOT NULL CHECK (state BETWEEN 0 AND 4), -- 0 ready, 1 delayed, 2 claimed, 3 to be leased, 4 dead
  queue      INTEGER NOT NULL,
  priority   INTEGER NOT NULL,
  eta        INTEGER NOT NULL,                     -- of a leased task: the end of the lease
  claim      INTEGER NOT NULL DEFAULT 0,           -- number of the last claim: with owner, the fence. PULL: the end of
                                                   -- the lease as its holder knows it; 0: eta
  tries      INTEGER NOT NULL DEFAULT 0,           -- failed executions, or leases
  owner      INTEGER,                              -- worker.id
  stage      INTEGER,                              -- CALLBACK: whose
  losses     INTEGER,                              -- workers that died with a claim of it, since its last outcome
  alone      INTEGER,                              -- 1: one loss is left; of such tasks each queue executes one
  first_try  INTEGER,                              -- known once a try has failed, or a lease begun
  executions INTEGER NOT NULL DEFAULT 0,           -- failures that had an answer
  status     INTEGER,                              -- of the last answer
  flags      INTEGER NOT NULL DEFAULT 0 CHECK (flags BETWEEN 0 AND 3), -- 1: payload, request and limits are in
                                                   -- pl_task_detail; 2: eta ends a pause between two attempts
  name       TEXT,
  payload    BLOB,
  request    BLOB,                                 -- PUSH: method, URL, headers
  tag        BLOB,                                 -- PULL
  CHECK ((state = 2) = (owner IS NOT NULL)),
  CHECK ((kind = 3) = (stage IS NOT NULL)),
  CHECK (state = 4 OR (state = 3) = (kind = 5)),   -- what is pulled waits for a lease, and nothing else does
  CHECK (state < 4 OR kind >= 4)
);
INSERT INTO pl_task_new (id, kind, state, queue, priority, eta, claim, tries, owner, stage, losses, alone, first_try,
  executions, status, flags, name, payload, request, tag)
  SELECT id, kind, state, queue, priority, eta, CASE kind WHEN 5 THEN coalesce(lease, 0) ELSE claim END, tries, owner,
    stage, losses, alone, first_try, executions, status, has_detail | (coalesce(is_retry, 0) << 1), name,
    CASE has_detail WHEN 0 THEN payload END, CASE has_detail WHEN 0 THEN request END, tag
  FROM (SELECT *, large OR coalesce(deadline, retry_limit, age_limit, min_backoff, max_backoff,
    max_doublings, max_losses) IS NOT NULL AS has_detail FROM pl_task) ORDER BY id;
DROP TABLE pl_task;
ALTER TABLE pl_task_new RENAME TO pl_task;
PRAGMA legacy_alter_table = OFF;
CREATE INDEX pl_task_ready ON pl_task (queue, priority DESC, eta) WHERE state = 0;
CREATE INDEX pl_task_due ON pl_task (eta) WHERE state = 1;
CREATE INDEX pl_task_claimed ON pl_task (queue, owner) WHERE state = 2;
CREATE INDEX pl_task_stage ON pl_task (stage) WHERE stage IS NOT NULL;
CREATE INDEX pl_task_pull ON pl_task (queue, eta, id) WHERE state = 3;
CREATE INDEX pl_task_pull_tag ON pl_task (queue, tag, eta, id) WHERE state = 3;
CREATE INDEX pl_task_dead ON pl_task (queue, id) WHERE state = 4;
CREATE INDEX pl_task_losses ON pl_task (alone, queue) WHERE losses IS NOT NULL;
