-- Indexes for judging by change, built beside the work of the service.

-- +goose NO TRANSACTION
-- +goose Up

-- Packages by the names that advisories may concern them under, and those of
-- which nobody says.
DROP INDEX CONCURRENTLY IF EXISTS package_names;
CREATE INDEX CONCURRENTLY package_names ON package USING gin (names);
DROP INDEX CONCURRENTLY IF EXISTS package_nameless;
CREATE INDEX CONCURRENTLY package_nameless ON package (judged_build) WHERE names IS NULL;

-- A package may have thousands of matches, of which some are asked for.
DROP INDEX CONCURRENTLY IF EXISTS package_match_package_canonical;
CREATE INDEX CONCURRENTLY package_match_package_canonical ON package_match (package_id, canonical);
DROP INDEX CONCURRENTLY IF EXISTS package_match_package;

-- Packages that another one owns somewhere.
DROP INDEX CONCURRENTLY IF EXISTS inventory_package_owned;
CREATE INDEX CONCURRENTLY inventory_package_owned ON inventory_package (package_id) WHERE owners <> '{}';
