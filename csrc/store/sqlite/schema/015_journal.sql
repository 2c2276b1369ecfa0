-- Durable functions: how far each has come, its journal, its mailbox, its streams and values (store/durable).
--
-- Entries of a journal are rows of a plain table, for each commit appends some of many functions; values above a
-- kilobyte are in rows of their own. A wait may be that of a durable function for a slot; for that the table of waits
-- is written anew.

CREATE TABLE pl_flow (                                 -- of stages with flag 1048576
  stage       INTEGER PRIMARY KEY REFERENCES pl_stage (id) ON DELETE CASCADE,
  seed        BLOB NOT NULL CHECK (length(seed) = 16),
  version     INTEGER NOT NULL DEFAULT 1 CHECK (version >= 1),
  era         INTEGER NOT NULL DEFAULT 0 CHECK (era >= 0),
  first       INTEGER NOT NULL DEFAULT 1,              -- seq of the first entry of this era
  next        INTEGER NOT NULL DEFAULT 1,              -- greater than every seq and done
  bytes       INTEGER NOT NULL DEFAULT 0,
  mode        INTEGER NOT NULL DEFAULT 0 CHECK (mode BETWEEN 0 AND 3), -- begun, suspended, held, over
  wants       BLOB,                                    -- suspended: names of mails that wake it, or *
  posted      INTEGER NOT NULL DEFAULT 0,              -- mails so far
  mails       INTEGER NOT NULL DEFAULT 0 CHECK (mails BETWEEN 0 AND posted), -- that were not taken
  dirty       INTEGER NOT NULL DEFAULT 0 CHECK (dirty IN (0, 1)), -- news came while it was not suspended
  cancel      INTEGER NOT NULL DEFAULT 0 CHECK (cancel BETWEEN 0 AND 2), -- 1 asked for, 2 delivered
  deadline    INTEGER,                                 -- of the whole run
  reason      TEXT,                                    -- held: why; suspended: what it waits for
  lost        INTEGER NOT NULL DEFAULT 0,              -- claims lost with their workers, in a row at
  lost_at     INTEGER,                                 -- this `next`
  ended       INTEGER,                                 -- when its stage became final
  forked_from INTEGER,
  forked_at   INTEGER,
  CHECK (first <= next),
  CHECK ((mode = 3) = (ended IS NOT NULL)),
  CHECK (mode = 1 OR wants IS NULL)
);
CREATE INDEX pl_flow_dirty ON pl_flow (stage) WHERE dirty = 1;
CREATE INDEX pl_flow_ended ON pl_flow (ended) WHERE ended IS NOT NULL;

CREATE TABLE pl_journal (
  stage   INTEGER NOT NULL,
  seq     INTEGER NOT NULL CHECK (seq >= 1),           -- in the order of asking
  done    INTEGER CHECK (done > seq),                  -- in that of delivery, from the same counter
  kind    INTEGER NOT NULL CHECK (kind BETWEEN 0 AND 9),
  state   INTEGER NOT NULL CHECK (state BETWEEN 0 AND 4), -- open, ok, failed, cancelled, to be tried again
  path    TEXT,                                        -- branch
  name    TEXT NOT NULL,
  nth     INTEGER NOT NULL,                            -- of that name in that branch; 0: the name ends in its @key
  line    TEXT,
  opened  INTEGER NOT NULL,
  closed  INTEGER,
  attempt INTEGER NOT NULL DEFAULT 0,
  due     INTEGER,
  ref     INTEGER,                                     -- child, slot, mail
  large   INTEGER NOT NULL DEFAULT 0 CHECK (large IN (0, 1)), -- the value is in pl_journal_large
  value   BLOB,
  CHECK ((done IS NULL) = (state IN (0, 4))),
  CHECK (large = 0 OR value IS NULL)
);
CREATE UNIQUE INDEX pl_journal_stage ON pl_journal (stage, seq);
CREATE INDEX pl_journal_open ON pl_journal (stage, seq) WHERE done IS NULL;

CREATE TABLE pl_journal_large (
  stage INTEGER NOT NULL,
  seq   INTEGER NOT NULL,
  value BLOB NOT NULL
);
CREATE UNIQUE INDEX pl_journal_large_stage ON pl_journal_large (stage, seq);

CREATE TABLE pl_mail (                                 -- those not taken; and the keys of those that were
  stage  INTEGER NOT NULL,
  number INTEGER NOT NULL,                             -- of those of its stage
  kind   INTEGER NOT NULL CHECK (kind IN (0, 1)),      -- signal, update
  name   TEXT NOT NULL,
  key    BLOB,
  time   INTEGER NOT NULL,
  taken  INTEGER NOT NULL DEFAULT 0 CHECK (taken IN (0, 1)),
  value  BLOB,
  reply  INTEGER NOT NULL DEFAULT 0 CHECK (reply BETWEEN 0 AND 3), -- of an update: 1 ok, 2 failed, 3 refused
  answer BLOB,
  PRIMARY KEY (stage, number)
);
CREATE INDEX pl_mail_new ON pl_mail (stage, number) WHERE taken = 0;
CREATE UNIQUE INDEX pl_mail_key ON pl_mail (stage, name, key) WHERE key IS NOT NULL;

CREATE TABLE pl_chunk (                                -- of streams; value NULL: closed
  stage  INTEGER NOT NULL,
  stream TEXT NOT NULL,
  n      INTEGER NOT NULL,
  source TEXT,                                         -- key of the step that has written it,
  k      INTEGER,                                      -- as its k-th
  time   INTEGER NOT NULL,
  value  BLOB,
  PRIMARY KEY (stage, stream, n)
) WITHOUT ROWID;

CREATE TABLE pl_value (
  stage INTEGER NOT NULL,
  name  TEXT NOT NULL,
  time  INTEGER NOT NULL,
  value BLOB,
  PRIMARY KEY (stage, name)
) WITHOUT ROWID;

CREATE TABLE pl_wait_new (                             -- gone when the slot is filled
  slot  INTEGER NOT NULL,
  stage INTEGER NOT NULL,
  kind  INTEGER NOT NULL CHECK (kind BETWEEN 0 AND 2), -- 0: an input (missing), 1: an output of an async stage (open),
                                                       -- 2: it wakes a durable function
  PRIMARY KEY (slot, stage, kind)
) WITHOUT ROWID;
INSERT INTO pl_wait_new (slot, stage, kind) SELECT slot, stage, kind FROM pl_wait;
DROP TABLE pl_wait;
ALTER TABLE pl_wait_new RENAME TO pl_wait;
