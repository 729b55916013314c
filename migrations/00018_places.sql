-- Which inventories hold a package is read from an index alone: of a package that
-- a third of all images have, the rows lie on as many pages.

-- +goose NO TRANSACTION
-- +goose Up

DROP INDEX CONCURRENTLY IF EXISTS inventory_package_places;
CREATE INDEX CONCURRENTLY inventory_package_places ON inventory_package (package_id, inventory_id) INCLUDE (excluded);
DROP INDEX CONCURRENTLY IF EXISTS inventory_package_package;
