-- The first schema. States are those of store.h (pl_stage_state_t, pl_task_kind_t); the rules between columns are
-- constraints, so that no bug can store what the state machine does not know.
--
-- Every name begins with pl_, because users keep tables of their own in the same file.
--
-- Hot rows are narrow: arguments above a limit live in pl_stage_large, values in pl_slot. Foreign keys guard the tables
-- that are written seldom and the membership of a stage in its root; task and wait rows are written once per stage
-- and checked by `make crash` instead.

CREATE TABLE pl_meta (
  key   TEXT NOT NULL PRIMARY KEY,
  value BLOB
) WITHOUT ROWID;

CREATE TABLE pl_worker (
  id          INTEGER PRIMARY KEY,                 -- the incarnation: never used twice
  number      INTEGER NOT NULL UNIQUE CHECK (number BETWEEN 0 AND 1023),
  host        TEXT NOT NULL,
  pid         INTEGER NOT NULL,
  started     INTEGER NOT NULL,
  lease_until INTEGER NOT NULL
);

CREATE TABLE pl_queue (
  id     INTEGER PRIMARY KEY,
  name   TEXT NOT NULL UNIQUE,
  mode   TEXT NOT NULL DEFAULT 'push' CHECK (mode IN ('push', 'pull')),
  paused INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1))
);

CREATE TABLE pl_stage (
  id              INTEGER PRIMARY KEY,
  root            INTEGER NOT NULL REFERENCES pl_stage (id) ON DELETE CASCADE,
  parent          INTEGER,                         -- NULL: a root
  state           INTEGER NOT NULL CHECK (state BETWEEN 0 AND 7),
  flags           INTEGER NOT NULL,
  missing         INTEGER NOT NULL,                -- unfilled inputs
  open            INTEGER NOT NULL,                -- unsettled children and, of an async stage, unfilled outputs
  attempt         INTEGER NOT NULL DEFAULT 0,      -- failed attempts so far
  queue           INTEGER NOT NULL,
  priority        INTEGER NOT NULL DEFAULT 0,
  class_path      TEXT NOT NULL,
  args            BLOB,                            -- NULL: in pl_stage_large
  created         INTEGER NOT NULL,
  started         INTEGER,                         -- last became ready
  finalized       INTEGER,
  inputs          BLOB,                            -- slots of the arguments, 8 bytes each
  after_slots     BLOB,
  outputs         BLOB,                            -- NULL: only its own default
  eta             INTEGER,
  max_attempts    INTEGER,
  backoff_seconds REAL,
  backoff_factor  REAL,
  timeout         REAL,
  base_path       TEXT,
  target          TEXT,
  key             BLOB,                            -- idempotence key of a root
  retry_at        INTEGER,
  retry_message   TEXT,
  abort_message   TEXT,
  abort_requested INTEGER NOT NULL DEFAULT 0 CHECK (abort_requested IN (0, 1)),
  CHECK ((parent IS NULL) = (root = id)),
  CHECK ((state = 0) = (missing > 0) AND missing >= 0),       -- WAITING
  CHECK ((state = 2) = (open > 0) AND open >= 0),             -- RUN
  CHECK ((state IN (4, 6)) = (finalized IS NOT NULL)),        -- DONE, ABORTED
  CHECK (key IS NULL OR parent IS NULL),
  CHECK (max_attempts IS NULL OR max_attempts >= 1)
);
CREATE INDEX pl_stage_root ON pl_stage (root, id);
CREATE UNIQUE INDEX pl_stage_key ON pl_stage (key) WHERE key IS NOT NULL;
CREATE INDEX pl_stage_class ON pl_stage (class_path, id) WHERE parent IS NULL;
CREATE INDEX pl_stage_newest ON pl_stage (id) WHERE parent IS NULL;

CREATE TABLE pl_stage_large (
  stage       INTEGER PRIMARY KEY REFERENCES pl_stage (id) ON DELETE CASCADE,
  args        BLOB NOT NULL,
  inputs      BLOB,
  after_slots BLOB
);

CREATE TABLE pl_slot (                                -- filled slots only
  id     INTEGER PRIMARY KEY,
  filler INTEGER NOT NULL,
  time   INTEGER NOT NULL,
  value  BLOB NOT NULL
);

CREATE TABLE pl_wait (                                -- gone when the slot is filled
  slot  INTEGER NOT NULL,
  stage INTEGER NOT NULL,
  kind  INTEGER NOT NULL CHECK (kind IN (0, 1)),   -- 0: an input (missing), 1: an output of an async stage (open)
  PRIMARY KEY (slot, stage, kind)
) WITHOUT ROWID;

CREATE TABLE pl_status (
  stage       INTEGER PRIMARY KEY REFERENCES pl_stage (id) ON DELETE CASCADE,
  time        INTEGER NOT NULL,
  message     TEXT,
  console_url TEXT,
  links       BLOB
);

CREATE TABLE pl_failure (
  id          INTEGER PRIMARY KEY,
  stage       INTEGER NOT NULL REFERENCES pl_stage (id) ON DELETE CASCADE,
  time        INTEGER NOT NULL,
  attempt     INTEGER NOT NULL,
  worker      TEXT,
  error_class TEXT,
  message     TEXT,
  traceback   TEXT
);
CREATE INDEX pl_failure_stage ON pl_failure (stage);

CREATE TABLE pl_task (
  id       INTEGER PRIMARY KEY,                    -- RUN, FINALIZE, ABORT: the id of the stage
  kind     INTEGER NOT NULL CHECK (kind BETWEEN 0 AND 3),
  state    INTEGER NOT NULL CHECK (state BETWEEN 0 AND 2), -- 0 ready, 1 delayed, 2 claimed
  queue    INTEGER NOT NULL,
  priority INTEGER NOT NULL,
  eta      INTEGER NOT NULL,
  claim    INTEGER NOT NULL DEFAULT 0,             -- number of the last claim: with owner, the fence
  tries    INTEGER NOT NULL DEFAULT 0,             -- failed executions
  owner    INTEGER,                                -- worker.id
  stage    INTEGER,                                -- CALLBACK: whose
  name     TEXT,
  payload  BLOB,
  CHECK ((state = 2) = (owner IS NOT NULL)),
  CHECK ((kind = 3) = (stage IS NOT NULL))
);
CREATE INDEX pl_task_ready ON pl_task (queue, priority DESC, eta, id) WHERE state = 0;
CREATE INDEX pl_task_due ON pl_task (eta) WHERE state = 1;
CREATE INDEX pl_task_claimed ON pl_task (owner) WHERE state = 2;
CREATE INDEX pl_task_stage ON pl_task (stage) WHERE stage IS NOT NULL;

CREATE TABLE pl_task_name (                           -- names in use, and tombstones
  queue   INTEGER NOT NULL,
  name    TEXT NOT NULL,
  expires INTEGER,                                 -- NULL: the task lives
  PRIMARY KEY (queue, name)
) WITHOUT ROWID;
CREATE INDEX pl_task_name_expires ON pl_task_name (expires) WHERE expires IS NOT NULL;
