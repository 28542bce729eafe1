//! Rules of `docs/style.md` and `docs/glossary.md` that concern all files of the repository.

mod modules;
mod repository;
mod sentences;
mod text;
mod words;
