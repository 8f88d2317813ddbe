-- 0013_catalog.sql - what a question asks of every segment and batch first, side by side.
--
-- Their rows lie between blobs, a page or more for each: these indexes have all that tells
-- which of them need not be read (collector/flowstore/catalog.h), hundreds to a page.

CREATE INDEX flow_fresh_zone ON flow_fresh
    (id, host_id, n_rows, min_start_ms, min_end_ms, max_end_ms);
CREATE INDEX flow_segment_zone ON flow_segment
    (id, n_rows, min_start_ms, min_end_ms, max_end_ms, zone, zone_crc);
