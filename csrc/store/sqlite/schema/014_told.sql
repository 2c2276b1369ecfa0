-- What a root was told of the fire that has started it: for as long as it is there, whatever becomes of the schedule
-- and its fires. And fires by their nominal time, so that a backfill finds what has fired.

CREATE TABLE pl_told (
  root       INTEGER PRIMARY KEY REFERENCES pl_stage (id) ON DELETE CASCADE,
  name       TEXT NOT NULL,                         -- of the schedule
  nominal    INTEGER NOT NULL,
  at         INTEGER NOT NULL,                      -- when it fired
  previous   INTEGER,                               -- the nominal time of the one before
  reason     INTEGER NOT NULL CHECK (reason BETWEEN 0 AND 3),
  local_time TEXT                                   -- the nominal time in the zone of the schedule
);
INSERT INTO pl_told (root, name, nominal, at, previous, reason)
  SELECT f.target, s.name, f.nominal, f.at, f.previous, f.reason FROM pl_fire AS f JOIN pl_schedule AS s ON
  s.id = f.schedule WHERE f.is_stage = 1 AND f.target IN (SELECT id FROM pl_stage);

CREATE INDEX pl_fire_nominal ON pl_fire (schedule, nominal) WHERE reason <> 2; -- not of triggers
