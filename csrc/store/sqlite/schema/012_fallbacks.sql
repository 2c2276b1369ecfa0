-- What the unfilled outputs of a stage get if the part of the tree from there on is aborted.

CREATE TABLE pl_fallback (                            -- of stages with flag 16384
  stage INTEGER PRIMARY KEY REFERENCES pl_stage (id) ON DELETE CASCADE,
  value BLOB NOT NULL
);
