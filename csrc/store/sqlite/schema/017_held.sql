-- Durable functions that are held are found by their mode, also those that still end what they have begun. Some were
-- told apart by an eta that is no time before; their tasks have the last time there is again.

CREATE INDEX pl_flow_held ON pl_flow (stage) WHERE mode = 2;
UPDATE pl_task SET eta = 9223372036854775806 WHERE state = 1 AND eta = 9223372036854775807;
