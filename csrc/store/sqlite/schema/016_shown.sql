-- What durable functions write into streams is known by its source, so that no life writes it again; and which are
-- forks of which.

CREATE UNIQUE INDEX pl_chunk_source ON pl_chunk (stage, stream, source, k);
CREATE INDEX pl_flow_forked ON pl_flow (forked_from) WHERE forked_from IS NOT NULL;
