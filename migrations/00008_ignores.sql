-- What few packages suppress by their name is found without reading what all of
-- them suppress on others.

-- +goose NO TRANSACTION
-- +goose Up

DROP INDEX CONCURRENTLY IF EXISTS package_ignore_same;
CREATE INDEX CONCURRENTLY package_ignore_same ON package_ignore (package_id) WHERE kind = 'same';
