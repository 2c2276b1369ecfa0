-- What flows between stages stays, in the plain case, in the row of the stage it comes from: no wait, no slot.

ALTER TABLE pl_stage ADD COLUMN waiter INTEGER;       -- the one stage that waits for its default slot as an input;
                                                      -- -1: those in pl_wait; NULL: none
ALTER TABLE pl_stage ADD COLUMN result BLOB;          -- the value of its default slot, filled by itself as it was
                                                      -- finalized; NULL: in pl_slot, if it is filled
UPDATE pl_stage SET waiter = -1 WHERE id IN (SELECT slot FROM pl_wait);
