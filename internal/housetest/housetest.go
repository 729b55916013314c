// Package housetest holds the tests of the house itself: which package may
// import which, that every package says what it is for, and that the pages for
// newcomers name things that exist.
//
// It is responsible for rules that span packages. It must not test what a
// package does; that belongs beside the package.
package housetest
