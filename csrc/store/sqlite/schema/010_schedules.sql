-- Schedules, and their fires (states and reasons: schedule.h).

CREATE TABLE pl_schedule (
  id               INTEGER PRIMARY KEY,
  name             TEXT NOT NULL UNIQUE,
  source           TEXT,                            -- who declares it
  times            BLOB NOT NULL,                   -- the host's
  work             BLOB NOT NULL,                   -- the host's
  revision         INTEGER NOT NULL CHECK (revision >= 1),
  created          INTEGER NOT NULL,
  next_nominal     INTEGER,
  next_at          INTEGER,                         -- the nominal time with its jitter
  last_nominal     INTEGER,
  last_actual      INTEGER,
  paused           INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1)),
  note             TEXT,
  pause_on_failure INTEGER CHECK (pause_on_failure >= 1),
  failures         INTEGER NOT NULL DEFAULT 0,      -- failed fires in a row
  last_end         INTEGER,                         -- of the work of a fire
  last_state       INTEGER CHECK (last_state IN (2, 3)), -- what the fire was then: done, failed
  fired            INTEGER NOT NULL DEFAULT 0,
  caught_up        INTEGER NOT NULL DEFAULT 0,
  triggered        INTEGER NOT NULL DEFAULT 0,
  backfilled       INTEGER NOT NULL DEFAULT 0,
  skipped          INTEGER NOT NULL DEFAULT 0,
  skipped_paused   INTEGER NOT NULL DEFAULT 0,
  skipped_gap      INTEGER NOT NULL DEFAULT 0,
  missed           INTEGER NOT NULL DEFAULT 0,
  dropped          INTEGER NOT NULL DEFAULT 0,
  CHECK ((next_nominal IS NULL) = (next_at IS NULL) AND next_at >= next_nominal),
  CHECK (last_nominal IS NULL OR next_nominal IS NULL OR next_nominal > last_nominal)
);
CREATE INDEX pl_schedule_due ON pl_schedule (next_at) WHERE next_at IS NOT NULL AND paused = 0;
CREATE INDEX pl_schedule_declared ON pl_schedule (source, name) WHERE source IS NOT NULL;

CREATE TABLE pl_schedule_source (
  name    TEXT PRIMARY KEY,
  version INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE pl_fire (
  id       INTEGER PRIMARY KEY,
  schedule INTEGER NOT NULL REFERENCES pl_schedule (id) ON DELETE CASCADE,
  nominal  INTEGER NOT NULL,
  at       INTEGER NOT NULL,                        -- when it fired
  previous INTEGER,
  reason   INTEGER NOT NULL CHECK (reason BETWEEN 0 AND 3),
  state    INTEGER NOT NULL CHECK (state BETWEEN 0 AND 5),
  is_stage INTEGER NOT NULL CHECK (is_stage IN (0, 1)),
  target   INTEGER,                                 -- the root or task; NULL: there is none
  unwanted INTEGER NOT NULL DEFAULT 0 CHECK (unwanted IN (0, 1)), -- ended for a newer one: its end is no failure
  ended    INTEGER,
  CHECK (state > 1 OR target IS NOT NULL),          -- BUFFERED, STARTED
  CHECK ((state IN (2, 3, 5)) = (ended IS NOT NULL))
);
CREATE INDEX pl_fire_schedule ON pl_fire (schedule, id);
CREATE INDEX pl_fire_live ON pl_fire (schedule, state DESC, id) WHERE state < 2;
CREATE UNIQUE INDEX pl_fire_target ON pl_fire (target) WHERE state < 2;
