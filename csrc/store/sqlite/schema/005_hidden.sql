-- Stages that the host has made itself are not counted: how many there are is found without reading all.

CREATE INDEX pl_stage_hidden ON pl_stage (attempt) WHERE flags & 131072;
