//! One key of a TOML file, set or taken out, while every other byte of the file stays.

use anyhow::{Result, anyhow, bail, ensure};
use toml_edit::{Decor, DocumentMut, InlineTable, Item, Table, TableLike, Value};

/// The path of a key: the tables that it is in, then the key itself.
pub type Path<'a> = [&'a str];

/// What a file has at that path, where it is a string.
///
/// # Errors
///
/// The file is no TOML.
pub fn get(text: &str, path: &Path) -> Result<Option<String>> {
    Ok(at(&parse(text)?, path)
        .and_then(Item::as_str)
        .map(str::to_owned))
}

/// Whether there is something at that path, a key or a table.
///
/// # Errors
///
/// The file is no TOML.
pub fn has(text: &str, path: &Path) -> Result<bool> {
    Ok(at(&parse(text)?, path).is_some())
}

fn at<'a>(document: &'a DocumentMut, path: &Path) -> Option<&'a Item> {
    let mut steps = path.iter();
    steps.try_fold(document.as_item(), |item, key| {
        item.as_table_like()?.get(key)
    })
}

/// Sets a key to a string: in the spelling that its table and its old value have.
///
/// # Errors
///
/// The file is no TOML; something on the path is no table; the file has line ends of both kinds, or
/// a byte order mark, which would not stay as they are.
pub fn set(text: &str, path: &Path, value: &str) -> Result<String> {
    change(text, path, |document| {
        set_in_table(document.as_table_mut(), path, value)
    })
}

/// Takes a key out, and each table on its path that has nothing else.
///
/// # Errors
///
/// As of [`set`].
pub fn unset(text: &str, path: &Path) -> Result<String> {
    change(text, path, |document| {
        unset_in(document.as_table_mut(), path);
        Ok(())
    })
}

/// Sets an array of strings at the top of the file.
///
/// # Errors
///
/// As of [`set`].
pub fn set_array(text: &str, key: &str, values: &[String]) -> Result<String> {
    change(text, &[key], |document| {
        document[key] = toml_edit::value(toml_edit::Array::from_iter(values));
        Ok(())
    })
}

/// The file's content, without how it is written.
///
/// # Errors
///
/// It is no TOML.
pub fn content(text: &str) -> Result<serde_json::Value> {
    Ok(toml_edit::de::from_document(parse(text)?)?)
}

/// The file's content without the key at that path and the tables that are empty without it.
pub fn without(mut content: serde_json::Value, path: &Path) -> serde_json::Value {
    fn take(value: &mut serde_json::Value, path: &Path) {
        let [key, rest @ ..] = path else { return };
        let Some(table) = value.as_object_mut() else {
            return;
        };
        if let Some(next) = table.get_mut(*key) {
            take(next, rest);
            if rest.is_empty() || next.as_object().is_some_and(|next| next.is_empty()) {
                table.remove(*key);
            }
        }
    }
    take(&mut content, path);
    content
}

/// # Errors
///
/// In one line: where, and what.
fn parse(text: &str) -> Result<DocumentMut> {
    text.parse().map_err(|error: toml_edit::TomlError| {
        let line = error
            .span()
            .map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let said = error.message().replace('\n', ", ");
        match line {
            Some(line) => anyhow!("line {line}: {said}"),
            None => anyhow!("{said}"),
        }
    })
}

fn change(
    text: &str,
    path: &Path,
    edit: impl FnOnce(&mut DocumentMut) -> Result<()>,
) -> Result<String> {
    // toml_edit ends each line by a newline alone.
    let windows = text.contains("\r\n");
    let unix = text.replace("\r\n", "\n");
    ensure!(
        !windows || unix.matches('\n').count() == text.matches("\r\n").count(),
        "some lines end with a carriage return, others do not: make them the same"
    );
    let open = !unix.is_empty() && !unix.ends_with('\n');
    let closed = if open { unix + "\n" } else { unix };
    let mut document = parse(&closed)?;
    ensure!(
        document.to_string() == closed,
        "it has bytes that would not stay as they are, such as a byte order mark: take them out"
    );
    let before = without(content(&closed)?, path);
    edit(&mut document)?;
    let mut new = document.to_string();
    ensure!(
        without(content(&new)?, path) == before,
        "{} cannot be changed alone",
        path.join(".")
    );
    if open {
        new.pop();
    }
    Ok(if windows {
        new.replace('\n', "\r\n")
    } else {
        new
    })
}

fn set_in_table(table: &mut Table, path: &Path, value: &str) -> Result<()> {
    let [key, rest @ ..] = path else {
        bail!("no key")
    };
    if rest.is_empty() && !table.contains_key(key) {
        let indent = key_indent(table);
        let value = string(value, uses_single_quotes(table))?;
        // A table that only had others in it gets a header of its own.
        if table.is_implicit() && !table.is_dotted() {
            let indent = table_indent(table);
            table.decor_mut().set_prefix(format!("\n{indent}"));
        }
        table.insert(key, Item::Value(value));
        if let Some(mut key) = table.key_mut(key) {
            key.leaf_decor_mut().set_prefix(indent);
        }
        return Ok(());
    }
    if !table.contains_key(key) {
        let mut new = Table::new();
        new.set_implicit(true);
        new.set_dotted(table.is_dotted());
        let indent = table_indent(table);
        new.decor_mut().set_prefix(format!("\n{indent}"));
        table.insert(key, Item::Table(new));
    }
    match (&mut table[key], rest) {
        (Item::Value(old), []) => replace(old, value),
        (Item::Table(next), [_, ..]) => set_in_table(next, rest, value),
        (Item::Value(Value::InlineTable(next)), _) => set_in_inline(next, rest, value),
        _ => bail!("{key} is not of the kind that containerd reads there"),
    }
}

fn set_in_inline(table: &mut InlineTable, path: &Path, value: &str) -> Result<()> {
    let [key, rest @ ..] = path else {
        bail!("no key")
    };
    if !table.contains_key(key) {
        let mut new = string(value, uses_single_quotes(table))?;
        if let Some(last) = last_value(table) {
            // The space before the brace.
            let end = last.decor().suffix().cloned().unwrap_or_default();
            last.decor_mut().set_suffix("");
            *new.decor_mut() = Decor::new(" ", end);
        }
        let new = rest.iter().rev().fold(new, |inner, key| {
            let mut outer = InlineTable::new();
            outer.set_dotted(true);
            outer.insert(*key, inner);
            outer.into()
        });
        table.insert(*key, new);
        return Ok(());
    }
    match (table.get_mut(key), rest) {
        (Some(old), []) => replace(old, value),
        (Some(Value::InlineTable(next)), [_, ..]) => set_in_inline(next, rest, value),
        _ => bail!("{key} is not of the kind that containerd reads there"),
    }
}

/// The value that stands last in a table, be it of a dotted key.
fn last_value(table: &mut InlineTable) -> Option<&mut Value> {
    let (_, last) = table.iter_mut().last()?;
    if last.as_inline_table().is_some_and(InlineTable::is_dotted) {
        last_value(last.as_inline_table_mut()?)
    } else {
        Some(last)
    }
}

fn replace(old: &mut Value, value: &str) -> Result<()> {
    ensure!(old.is_str(), "what names the image is no string");
    let single = old.to_string().trim_start().starts_with('\'');
    let decor = old.decor().clone();
    *old = string(value, single)?;
    *old.decor_mut() = decor;
    Ok(())
}

/// Neither kind of string has to escape anything of an image's name.
fn string(value: &str, single: bool) -> Result<Value> {
    let quote = if single { '\'' } else { '"' };
    Ok(format!("{quote}{value}{quote}").parse()?)
}

fn uses_single_quotes(table: &dyn TableLike) -> bool {
    let mut values = table.iter().filter_map(|(_, item)| item.as_value());
    values.any(|value| value.to_string().trim_start().starts_with('\''))
}

/// The white space before the keys of a table.
fn key_indent(table: &Table) -> String {
    let mut keys = table.iter().filter(|(_, item)| item.is_value());
    let first = keys.find_map(|(name, _)| table.key(name)?.leaf_decor().prefix()?.as_str());
    let header = table.decor().prefix().and_then(|raw| raw.as_str());
    match (first, header) {
        (Some(prefix), _) => last_line(prefix).to_owned(),
        (None, Some(prefix)) if table.position().is_some() => format!("{}  ", last_line(prefix)),
        _ => String::new(),
    }
}

/// The white space before the headers of the tables in a table.
fn table_indent(table: &Table) -> String {
    let mut children = table.iter().filter_map(|(_, item)| item.as_table());
    let prefix = children.find_map(|child| child.decor().prefix()?.as_str());
    prefix.map(last_line).unwrap_or_default().to_owned()
}

fn last_line(prefix: &str) -> &str {
    let line = prefix.rsplit('\n').next().unwrap_or_default();
    // What is no white space is a comment that ends in the line before.
    &line[..line.len() - line.trim_start().len()]
}

fn unset_in(table: &mut dyn TableLike, path: &Path) {
    let [key, rest @ ..] = path else { return };
    if rest.is_empty() {
        table.remove(key);
    } else if let Some(next) = table.get_mut(key).and_then(Item::as_table_like_mut) {
        unset_in(next, rest);
        if next.is_empty() {
            table.remove(key);
        }
    }
}
