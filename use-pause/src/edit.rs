//! Sets or removes one key of a TOML file, and keeps every other byte.

use anyhow::{Result, anyhow, bail, ensure};
use serde_json::Value as Content;
use toml_edit::{Array, Decor, DocumentMut, InlineTable, Item, Table, TableLike, TomlError, Value};

/// The path of a key: the tables that it is in, then the key itself.
pub type Path<'a> = [&'a str];

/// The file's content, however it is written.
pub fn content(text: &str) -> Result<Content> {
    Ok(toml_edit::de::from_document(parse(text)?)?)
}

/// The value or table at that path.
pub fn at<'a>(content: &'a Content, path: &Path) -> Option<&'a Content> {
    path.iter()
        .try_fold(content, |content, key| content.get(key))
}

/// The string at that path.
pub fn get(text: &str, path: &Path) -> Result<Option<String>> {
    let content = content(text)?;
    let value = at(&content, path).and_then(Content::as_str);
    Ok(value.map(str::to_owned))
}

/// Sets a key to a string, in the spelling of its old value and its table. It fails if something else is
/// at that path, or if the file mixes line ends or has a byte order mark, which would not survive.
pub fn set(text: &str, path: &Path, value: &str) -> Result<String> {
    change(text, path, |document| {
        set_in_table(document.as_table_mut(), path, value)
    })
}

/// Removes a key, and each table on its path that is empty without it.
pub fn unset(text: &str, path: &Path) -> Result<String> {
    change(text, path, |document| {
        unset_in(document.as_table_mut(), path);
        Ok(())
    })
}

/// Sets an array of strings at the top of the file.
pub fn set_array<'a>(
    text: &str,
    key: &str,
    values: impl Iterator<Item = &'a str>,
) -> Result<String> {
    let mut document = parse(text)?;
    document[key] = toml_edit::value(Array::from_iter(values));
    Ok(document.to_string())
}

/// The content without some keys, and without each table that is then empty.
pub fn without(text: &str, paths: &[&Path]) -> Result<Content> {
    let mut document = parse(text)?;
    for path in paths {
        unset_in(document.as_table_mut(), path);
    }
    Ok(toml_edit::de::from_document(document)?)
}

/// Parses, or says in one line where the text is not TOML.
fn parse(text: &str) -> Result<DocumentMut> {
    text.parse().map_err(|error: TomlError| {
        let message = error.message().replace('\n', ", ");
        let start = error.span().map_or(0, |it| it.start.min(text.len()));
        let before = &text[..start];
        anyhow!("line {}: {message}", before.matches('\n').count() + 1)
    })
}

fn change(
    text: &str,
    path: &Path,
    edit: impl FnOnce(&mut DocumentMut) -> Result<()>,
) -> Result<String> {
    // toml_edit ends each line with a newline alone.
    let windows = text.contains("\r\n");
    let unix = text.replace("\r\n", "\n");
    ensure!(
        !windows || unix.matches('\n').count() == text.matches("\r\n").count(),
        "some lines end with a carriage return and others do not: make them the same"
    );
    let open = !unix.is_empty() && !unix.ends_with('\n');
    let closed = if open { unix + "\n" } else { unix };
    let mut document = parse(&closed)?;
    ensure!(
        document.to_string() == closed,
        "an edit would change other bytes, such as a byte order mark or a second spelling of a table's name: remove them first"
    );
    let before = without(&closed, &[path])?;
    edit(&mut document)?;
    let mut new = document.to_string();
    ensure!(
        without(&new, &[path])? == before,
        "cannot change {} alone",
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
        // A table that had only tables in it gets a header.
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
        _ => bail!("{key} has a type that containerd does not read there"),
    }
}

fn set_in_inline(table: &mut InlineTable, path: &Path, value: &str) -> Result<()> {
    let [key, rest @ ..] = path else {
        bail!("no key")
    };
    if !table.contains_key(key) {
        let mut new = string(value, uses_single_quotes(table))?;
        if let Some(last) = last_value(table) {
            // The space before the closing brace.
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
        _ => bail!("{key} has a type that containerd does not read there"),
    }
}

/// The last value of a table, also if its key is dotted.
fn last_value(table: &mut InlineTable) -> Option<&mut Value> {
    let (_, last) = table.iter_mut().last()?;
    if last.as_inline_table().is_some_and(InlineTable::is_dotted) {
        last_value(last.as_inline_table_mut()?)
    } else {
        Some(last)
    }
}

fn replace(old: &mut Value, value: &str) -> Result<()> {
    ensure!(old.is_str(), "the sandbox image is not a string");
    let single = old.to_string().trim_start().starts_with('\'');
    let decor = old.decor().clone();
    *old = string(value, single)?;
    *old.decor_mut() = decor;
    Ok(())
}

/// An image's name needs no escapes in either kind of string.
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
    // Anything else in the line is a comment.
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
