-- What is old goes: which trees are being deleted, in portions, and what is found by its age.

CREATE TABLE pl_deletion (                            -- roots that nobody finds any more, while their trees go
  root INTEGER PRIMARY KEY
);
CREATE INDEX pl_stage_final ON pl_stage (state, finalized) WHERE parent IS NULL AND finalized IS NOT NULL;
CREATE INDEX pl_dead_time ON pl_dead (time);
