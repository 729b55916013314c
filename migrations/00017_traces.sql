-- +goose Up

-- The traces of those who asked for a scan, as W3C traceparent, so that whichever
-- process scans goes on with the first and links the others. NULL without traces.
ALTER TABLE scan ADD COLUMN traces text[];
