//! What use-pause prints: lines for people as it goes, or one JSON object in the end.

use serde_json::{Map, Value};
use std::{
    cell::RefCell,
    io::{Write, stdout},
};

pub struct Output {
    is_json: bool,
    object: RefCell<Map<String, Value>>,
}

impl Output {
    pub fn new(is_json: bool) -> Self {
        Self {
            is_json,
            object: RefCell::default(),
        }
    }

    /// Prints a line for people. If nobody reads it, the change still goes on.
    pub fn line(&self, line: &str) {
        if !self.is_json {
            _ = writeln!(stdout(), "{line}");
        }
    }

    /// Prints rows in columns for people.
    pub fn table<const N: usize>(&self, rows: &[[&str; N]]) {
        let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max();
        for row in rows {
            let cells = row.iter().enumerate();
            let cells =
                cells.map(|(at, cell)| format!("{cell:<width$}", width = width(at).unwrap_or(0)));
            let line = cells.collect::<Vec<_>>().join("   ");
            self.line(line.trim_end());
        }
    }

    /// Sets a field of the object.
    pub fn set(&self, name: &str, value: impl Into<Value>) {
        self.object
            .borrow_mut()
            .insert(name.to_owned(), value.into());
    }

    /// Prints the object.
    pub fn end(&self) {
        if self.is_json {
            _ = writeln!(stdout(), "{}", Value::from(self.object.take()));
        }
    }
}
