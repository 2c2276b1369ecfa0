-- Task queues: settings of queues, tasks that are pushed, pulled or deferred, and the dead-letter list.
--
-- Tasks are written anew, because the rules between their columns change. What is NULL in a queue is not limited, or
-- has the default; what is NULL among the retry parameters of a task is the queue's.

ALTER TABLE pl_queue ADD COLUMN removed INTEGER NOT NULL DEFAULT 0 CHECK (removed IN (0, 1));
ALTER TABLE pl_queue ADD COLUMN rate REAL CHECK (rate >= 0);                      -- tasks started per second
ALTER TABLE pl_queue ADD COLUMN bucket_size REAL CHECK (bucket_size >= 1);
ALTER TABLE pl_queue ADD COLUMN tokens REAL;                                      -- as of tokens_time
ALTER TABLE pl_queue ADD COLUMN tokens_time INTEGER;
ALTER TABLE pl_queue ADD COLUMN max_concurrent INTEGER CHECK (max_concurrent >= 1);
ALTER TABLE pl_queue ADD COLUMN target TEXT;
ALTER TABLE pl_queue ADD COLUMN retry_limit REAL CHECK (retry_limit >= 0);
ALTER TABLE pl_queue ADD COLUMN age_limit REAL CHECK (age_limit >= 0);            -- seconds
ALTER TABLE pl_queue ADD COLUMN min_backoff REAL CHECK (min_backoff >= 0);        -- seconds
ALTER TABLE pl_queue ADD COLUMN max_backoff REAL CHECK (max_backoff >= 0);        -- seconds
ALTER TABLE pl_queue ADD COLUMN max_doublings REAL CHECK (max_doublings >= 0);

INSERT INTO pl_queue (name) VALUES ('default') ON CONFLICT (name) DO NOTHING;

CREATE TABLE pl_queue_started (                       -- tasks started in each of the last seconds
  queue   INTEGER NOT NULL,
  slot    INTEGER NOT NULL CHECK (slot BETWEEN 0 AND 63), -- second modulo 64
  second  INTEGER NOT NULL,
  started INTEGER NOT NULL,
  PRIMARY KEY (queue, slot)
) WITHOUT ROWID;

CREATE TABLE pl_task_new (
  id            INTEGER PRIMARY KEY,               -- RUN, FINALIZE, ABORT: the id of the stage
  kind          INTEGER NOT NULL CHECK (kind BETWEEN 0 AND 6),
  state         INTEGER NOT NULL CHECK (state BETWEEN 0 AND 4), -- 0 ready, 1 delayed, 2 claimed, 3 to be leased, 4 dead
  queue         INTEGER NOT NULL,
  priority      INTEGER NOT NULL,
  eta           INTEGER NOT NULL,                  -- of a leased task: the end of the lease
  claim         INTEGER NOT NULL DEFAULT 0,        -- number of the last claim: with owner, the fence
  tries         INTEGER NOT NULL DEFAULT 0,        -- failed executions, or leases
  owner         INTEGER,                           -- worker.id
  stage         INTEGER,                           -- CALLBACK: whose
  name          TEXT,
  payload       BLOB,
  large         INTEGER NOT NULL DEFAULT 0 CHECK (large IN (0, 1)), -- payload and request are in pl_task_large
  request       BLOB,                              -- PUSH: method, URL, headers
  tag           BLOB,                              -- PULL
  deadline      REAL,                              -- seconds for one dispatch
  first_try     INTEGER,                           -- known once a try has failed, or a lease begun
  executions    INTEGER NOT NULL DEFAULT 0,        -- failures that had an answer
  status        INTEGER,                           -- of the last answer
  retry_limit   REAL,
  age_limit     REAL,
  min_backoff   REAL,
  max_backoff   REAL,
  max_doublings REAL,
  CHECK ((state = 2) = (owner IS NOT NULL)),
  CHECK ((kind = 3) = (stage IS NOT NULL)),
  CHECK (state = 4 OR (state = 3) = (kind = 5)),   -- what is pulled waits for a lease, and nothing else does
  CHECK (state < 4 OR kind >= 4)
);
INSERT INTO pl_task_new (id, kind, state, queue, priority, eta, claim, tries, owner, stage, name, payload)
  SELECT id, kind, state, queue, priority, eta, claim, tries, owner, stage, name, payload FROM pl_task;
DROP TABLE pl_task;
ALTER TABLE pl_task_new RENAME TO pl_task;
CREATE INDEX pl_task_ready ON pl_task (queue, priority DESC, eta, id) WHERE state = 0;
CREATE INDEX pl_task_due ON pl_task (eta) WHERE state = 1;
CREATE INDEX pl_task_claimed ON pl_task (queue, owner) WHERE state = 2;
CREATE INDEX pl_task_stage ON pl_task (stage) WHERE stage IS NOT NULL;
CREATE INDEX pl_task_pull ON pl_task (queue, eta, id) WHERE state = 3;
CREATE INDEX pl_task_pull_tag ON pl_task (queue, tag, eta, id) WHERE state = 3;
CREATE INDEX pl_task_dead ON pl_task (queue, id) WHERE state = 4;

CREATE TABLE pl_task_large (                          -- of tasks with large = 1
  task    INTEGER PRIMARY KEY,
  payload BLOB,
  request BLOB
);

CREATE TABLE pl_dead (                                -- why a task has state 4
  task        INTEGER PRIMARY KEY,
  time        INTEGER NOT NULL,
  error_class TEXT,
  message     TEXT,
  traceback   TEXT
);

ALTER TABLE pl_task_name ADD COLUMN task INTEGER;     -- whose it is, or was last
UPDATE pl_task_name SET task = (SELECT id FROM pl_task AS t WHERE t.queue = pl_task_name.queue
  AND t.name = pl_task_name.name) WHERE expires IS NULL;
