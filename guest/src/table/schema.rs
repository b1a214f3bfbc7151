//! Owns the columns of a table: which they are, which values fit them, and how they grow. Leaves the form of values to `cell`,
//! and of files to the formats.
//!
//! A column's type is the narrowest that holds all values that came: `boolean`; `long`, then `double` while that has all their
//! digits, then text; two different scalars are text. Objects are structs, whose fields are columns likewise; lists have one type
//! of elements. A column has no type, and is in no file, until a value comes that is not null. What can't be widened, a list
//! where there were numbers, is a misfit. A schema only grows, and a misfit changes nothing of it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::avro::avro_name;
use super::cell::{self, Seen};
use super::json::{self, Kind};
use super::{COLUMNS_MAX, DEPTH_MAX, Misfit, NAME_BYTES_MAX, VALUES_MAX, shortened};

/// The column of rows that have no value, in a table that has none so far.
const EMPTY_COLUMN: &str = "_empty";

/// What a column holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// Nothing but nulls so far.
    Unknown,
    /// Anything: texts as they are, all else as JSON.
    Any,
    /// A value without parts.
    Scalar(Scalar),
    /// One of these texts.
    Enum(BTreeSet<String>),
    /// An object with these fields.
    Struct(Fields),
    /// A list.
    List(Box<Type>),
    /// An object with any names.
    Map(Box<Type>),
}

/// A value without parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// True or false.
    Boolean,
    /// Whole numbers of 32 bits.
    Int,
    /// Whole numbers of 64 bits.
    Long {
        /// Whether there is one that a `double` can't hold.
        is_wide: bool,
    },
    /// Numbers of 32 bits with a fraction.
    Float,
    /// Numbers of 64 bits with a fraction.
    Double,
    /// Texts.
    Text,
    /// Texts that are UUIDs.
    Uuid,
    /// Bytes, in base64.
    Bytes,
    /// As many bytes.
    Fixed(usize),
    /// Numbers with a fixed point.
    Decimal {
        /// Digits.
        precision: usize,
        /// Digits after the point.
        scale: usize,
    },
    /// Days.
    Date,
    /// Times of day, in microseconds.
    Time,
    /// Points in time.
    Timestamp {
        /// What they count.
        unit: Unit,
        /// Whether they are in UTC, or of no zone.
        is_utc: bool,
    },
}

impl Scalar {
    /// What it holds, in words.
    pub(super) fn name(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Boolean => "booleans",
            Self::Int => "whole numbers of 32 bits",
            Self::Long { .. } => "whole numbers of 64 bits",
            Self::Float => "numbers of 32 bits",
            Self::Double => "numbers of 64 bits",
            Self::Text => "texts",
            Self::Uuid => "UUIDs such as 123e4567-e89b-12d3-a456-426614174000",
            Self::Bytes => "bytes in base64",
            Self::Fixed(length) => return Cow::Owned(format!("{length} bytes in base64")),
            Self::Decimal { precision, scale } => {
                return Cow::Owned(format!("decimal numbers of {precision} digits, {scale} of them after the point"));
            }
            Self::Date => "dates such as 2026-11-28",
            Self::Time => "times such as 12:34:56.789012",
            Self::Timestamp { is_utc: true, unit: Unit::Millis } => "timestamps such as 2026-11-28T12:34:56.789Z",
            Self::Timestamp { is_utc: true, unit: Unit::Micros } => "timestamps such as 2026-11-28T12:34:56.789012Z",
            Self::Timestamp { is_utc: false, .. } => "timestamps without a zone such as 2026-11-28T12:34:56.789",
        })
    }

    /// The narrowest type that also holds what was seen.
    fn widened(self, seen: Seen) -> Self {
        match (self, seen) {
            (Self::Boolean, Seen::Bool) | (Self::Double, Seen::Double) => self,
            (Self::Long { is_wide }, Seen::Long(number)) => Self::Long { is_wide: is_wide || !cell::is_exact(number) },
            (Self::Long { is_wide: false }, Seen::Double) => Self::Double,
            (Self::Double, Seen::Long(number)) if cell::is_exact(number) => self,
            _ => Self::Text,
        }
    }

    /// The narrowest type of what was seen.
    fn of(seen: Seen) -> Self {
        match seen {
            Seen::Bool => Self::Boolean,
            Seen::Long(number) => Self::Long { is_wide: !cell::is_exact(number) },
            Seen::Double => Self::Double,
            Seen::Beyond | Seen::Text => Self::Text,
        }
    }

    /// Whether values that come may make it another.
    fn is_inferred(self) -> bool {
        matches!(self, Self::Boolean | Self::Long { .. } | Self::Double | Self::Text)
    }
}

/// What timestamps count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Milliseconds.
    Millis,
    /// Microseconds.
    Micros,
}

/// A column, or a field of a struct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub content: Type,
    /// Whether it is never null.
    pub is_required: bool,
}

impl Field {
    /// A field that may be null.
    pub fn new(name: impl Into<String>, content: Type) -> Self {
        Self { name: name.into(), content, is_required: false }
    }

    /// A field that is never null.
    pub fn required(name: impl Into<String>, content: Type) -> Self {
        Self { is_required: true, ..Self::new(name, content) }
    }
}

/// The columns of a table, or the fields of a struct, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    list: Vec<Field>,
    places: BTreeMap<String, usize>,
    /// Names in small letters, which many readers take for the same.
    folded: BTreeMap<String, usize>,
    /// Whether names are told apart as they are in Avro.
    is_avro: bool,
}

impl Fields {
    /// No fields, the names of which will be told apart as they are in Avro, if so.
    pub fn new(is_avro: bool) -> Self {
        Self { is_avro, ..Self::default() }
    }

    /// The same fields, if Avro can tell their names apart.
    ///
    /// # Errors
    ///
    /// Where it can't.
    pub fn for_avro(self) -> Result<Self, Misfit> {
        let mut fields = Self::new(true);
        for Field { name, content, is_required } in self.list {
            let content = content.for_avro().map_err(|misfit| misfit.within(&name))?;
            fields.push(Field { name, content, is_required })?;
        }
        Ok(fields)
    }

    /// The fields.
    pub fn iter(&self) -> impl Iterator<Item = &Field> {
        self.list.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Adds a field at the end.
    ///
    /// # Errors
    ///
    /// Where there is one with its name, or one that readers would take for it.
    pub fn push(&mut self, field: Field) -> Result<(), Misfit> {
        let name = &field.name;
        if name.is_empty() {
            return Err(Misfit::new("has a field without a name"));
        }
        if name.len() > NAME_BYTES_MAX {
            let why = format!("has a name of more than {NAME_BYTES_MAX} bytes");
            return Err(Misfit::new(why).within(name));
        }
        let folded = if self.is_avro { avro_name(name).to_lowercase() } else { name.to_lowercase() };
        if let Some(other) = self.folded.get(&folded) {
            let other = &self.list[*other].name;
            let why = if other == name {
                "is there twice".to_owned()
            } else if other.to_lowercase() == name.to_lowercase() {
                format!(
                    "differs from `{}` by the case of its letters alone, which DuckDB and Spark don't tell apart",
                    shortened(other)
                )
            } else {
                format!("is `{}` in Avro, and so is `{}`", shortened(&avro_name(name)), shortened(other))
            };
            return Err(Misfit::new(why).within(name));
        }
        self.add(field, folded);
        Ok(())
    }

    fn add(&mut self, field: Field, folded: String) {
        let place = self.list.len();
        self.folded.insert(folded, place);
        self.places.insert(field.name.clone(), place);
        self.list.push(field);
    }

    /// Where a field is. Most objects have their names in one order, so that it is probably at `likely`.
    fn find(&self, name: &str, likely: usize) -> Option<usize> {
        match self.list.get(likely) {
            Some(field) if field.name == name => Some(likely),
            _ => self.places.get(name).copied(),
        }
    }

    /// The values of an object in the order of fields; names that are no field are given to `strange`.
    pub(super) fn place<'a>(
        &self,
        object: &'a str,
        strange: &mut dyn FnMut(&str) -> Result<(), Misfit>,
    ) -> Result<Vec<Option<&'a str>>, Misfit> {
        let mut values = vec![None; self.list.len()];
        let mut likely = 0;
        let mut put = |name: Cow<'a, str>, value: &'a str| {
            let Some(place) = self.find(&name, likely) else { return strange(&name) };
            likely = place + 1;
            if values[place].replace(value).is_some() {
                return Err(Misfit::new("is there twice").within(&name));
            }
            Ok(())
        };
        json::members(object, &mut put)?;
        Ok(values)
    }
}

/// The columns of a table.
#[derive(Clone, Debug)]
pub struct Schema {
    fields: Fields,
    /// Whether columns are those that the settings say.
    is_given: bool,
    /// Whether a new column holds anything, as in CSV.
    is_loose: bool,
    /// Columns at the beginning that are no row's own.
    extra: usize,
    /// Columns, those within others included.
    count: usize,
}

impl Schema {
    /// A schema that begins with columns that are no row's own, and grows by those of rows.
    pub fn growing(extra: Fields, is_loose: bool) -> Self {
        Self { extra: extra.list.len(), count: count(&extra), fields: extra, is_given: false, is_loose }
    }

    /// A schema of these columns, the first of which are no row's own.
    pub fn given(fields: Fields, extra: usize) -> Self {
        Self { count: count(&fields), fields, is_given: true, is_loose: false, extra }
    }

    /// Whether columns are those that the settings say.
    pub fn is_given(&self) -> bool {
        self.is_given
    }

    /// The columns.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The columns of a file. Without any value there is none, but no format has rows without columns: then it is
    /// `_empty`, which no value is in.
    pub fn fields_of_file(&self) -> Cow<'_, Fields> {
        if self.has_columns() {
            return Cow::Borrowed(&self.fields);
        }
        let mut fields = self.fields.clone();
        let content = Type::Scalar(Scalar::Boolean);
        match fields.folded.get(EMPTY_COLUMN) {
            Some(place) => fields.list[*place].content = content,
            None => fields.add(Field::new(EMPTY_COLUMN, content), EMPTY_COLUMN.to_owned()),
        }
        Cow::Owned(fields)
    }

    /// Takes a row: what is new in it is in the schema from then on.
    ///
    /// # Errors
    ///
    /// Where it does not fit, which changes nothing.
    pub fn take(&mut self, row: &str) -> Result<(), Misfit> {
        if self.fits(row)? {
            return Ok(());
        }
        let mut grown = self.clone();
        let extra = std::mem::take(&mut grown.extra);
        let room = COLUMNS_MAX.saturating_sub(self.columns());
        let is_avro = self.fields.is_avro;
        let mut growth = Growth { is_given: self.is_given, is_loose: self.is_loose, is_avro, room };
        growth.object(&mut grown.fields, row, 1, true)?;
        grown.extra = extra;
        grown.count = count(&grown.fields);
        if grown.columns() > COLUMNS_MAX {
            return Err(too_many_columns());
        }
        // Only now all names are known, so that those that are there twice are found.
        if !grown.fits(row)? {
            return Err(Misfit::new("has values that contradict each other"));
        }
        *self = grown;
        Ok(())
    }

    /// Whether a row fits as it is. Anything strange may be a reason to grow.
    fn fits(&self, row: &str) -> Result<bool, Misfit> {
        let mut is_known = true;
        let mut strange = |_: &str| {
            is_known = false;
            Ok(())
        };
        let values = self.fields.place(row, &mut strange)?;
        if let Some(taken) = values.iter().take(self.extra).position(Option::is_some) {
            let name = &self.fields.list[taken].name;
            return Err(Misfit::new("has the name of a column that `columns.extra` adds").within(name));
        }
        let mut fitting = Fitting { is_given: self.is_given, left: VALUES_MAX };
        Ok(fitting.fields(&self.fields, &values, 1)? && is_known)
    }

    /// Whether any column has a type.
    fn has_columns(&self) -> bool {
        self.fields.iter().any(|field| field.content.is_known())
    }

    /// How many columns there are, those within others included.
    pub fn columns(&self) -> usize {
        self.count
    }
}

fn count(fields: &Fields) -> usize {
    fn of(content: &Type) -> usize {
        1 + match content {
            Type::Unknown | Type::Any | Type::Scalar(_) | Type::Enum(_) => 0,
            Type::Struct(fields) => count(fields),
            Type::List(element) | Type::Map(element) => of(element),
        }
    }
    fields.iter().map(|field| of(&field.content)).sum()
}

/// A look at a row, to see whether it fits as it is.
struct Fitting {
    /// Whether columns are those that the settings say: no value widens them.
    is_given: bool,
    /// Values that may still come.
    left: usize,
}

impl Fitting {
    /// Whether all values of an object fit into their columns.
    fn fields(&mut self, fields: &Fields, values: &[Option<&str>], depth: usize) -> Result<bool, Misfit> {
        let mut fits = true;
        for (field, value) in fields.iter().zip(values) {
            if let Some(value) = value {
                fits &= self.value(&field.content, value, depth).map_err(|misfit| misfit.within(&field.name))?;
            }
        }
        Ok(fits)
    }

    /// Whether a value fits into its column.
    fn value(&mut self, content: &Type, json: &str, depth: usize) -> Result<bool, Misfit> {
        self.left =
            self.left.checked_sub(1).ok_or_else(|| Misfit::new(format!("has more than {VALUES_MAX} values")))?;
        let kind = Kind::of(json);
        if depth > DEPTH_MAX {
            return Err(Misfit::new(format!("is more than {DEPTH_MAX} levels deep")));
        }
        match (content, kind) {
            (_, Kind::Null) => Ok(true),
            (Type::Any, Kind::Text) => json::text(json).map(|_| true),
            (Type::Any, _) => Ok(true),
            (Type::Enum(symbols), Kind::Text) => symbol(symbols, json).map(|()| true),
            (Type::Struct(fields), Kind::Object) => {
                let mut is_known = true;
                let mut strange = |_: &str| {
                    is_known = false;
                    Ok(())
                };
                let values = fields.place(json, &mut strange)?;
                Ok(self.fields(fields, &values, depth + 1)? && is_known)
            }
            (Type::List(element), Kind::List) => {
                let mut fits = true;
                json::elements(json, &mut |value| {
                    fits &= self.value(element, value, depth + 1)?;
                    Ok(())
                })?;
                Ok(fits)
            }
            (Type::Map(value), Kind::Object) => {
                let mut fits = true;
                let mut names = BTreeSet::new();
                json::members(json, &mut |name, json| {
                    if !names.insert(name.clone()) {
                        return Err(Misfit::new("is there twice").within(&name));
                    }
                    fits &= self.value(value, json, depth + 1).map_err(|misfit| misfit.within(&name))?;
                    Ok(())
                })?;
                Ok(fits)
            }
            (Type::Scalar(scalar), Kind::Bool | Kind::Number | Kind::Text) => {
                if !self.is_given && scalar.is_inferred() && scalar.widened(Seen::of(json, kind)) != *scalar {
                    return Ok(false);
                }
                cell::read(*scalar, json).map(|_| true)
            }
            _ => Ok(false),
        }
    }
}

/// Checks that a text is one of those that its column takes.
fn symbol(symbols: &BTreeSet<String>, json: &str) -> Result<(), Misfit> {
    let is_known = symbols.contains(&*json::text(json)?);
    if is_known { Ok(()) } else { Err(Misfit::new("is a text that is none of those that `schema` has for it")) }
}

fn too_many_columns() -> Misfit {
    Misfit::new(format!("would give the table more than {COLUMNS_MAX} columns"))
}

/// How a schema takes what does not fit it.
struct Growth {
    is_given: bool,
    is_loose: bool,
    is_avro: bool,
    /// Columns that may be added.
    room: usize,
}

impl Growth {
    fn object(&mut self, fields: &mut Fields, json: &str, depth: usize, is_row: bool) -> Result<(), Misfit> {
        let mut likely = 0;
        json::members(json, &mut |name, value| {
            let place = match fields.find(&name, likely) {
                Some(place) => place,
                None if self.is_given => return Err(Misfit::new("is not in `schema`").within(&name)),
                None => {
                    let content = if self.is_loose && is_row { Type::Any } else { Type::Unknown };
                    self.room = self.room.checked_sub(1).ok_or_else(too_many_columns)?;
                    fields.push(Field::new(name.clone(), content))?;
                    fields.list.len() - 1
                }
            };
            likely = place + 1;
            let content = &mut fields.list[place].content;
            self.value(content, value, depth).map_err(|misfit| misfit.within(&name))
        })
    }

    fn value(&mut self, content: &mut Type, json: &str, depth: usize) -> Result<(), Misfit> {
        let kind = Kind::of(json);
        if depth > DEPTH_MAX {
            return Err(Misfit::new(format!("is more than {DEPTH_MAX} levels deep")));
        }
        if matches!(content, Type::Unknown) && !self.is_given {
            *content = match kind {
                Kind::Null => Type::Unknown,
                Kind::Object => Type::Struct(Fields::new(self.is_avro)),
                Kind::List => Type::List(Box::new(Type::Unknown)),
                _ => Type::Scalar(Scalar::of(Seen::of(json, kind))),
            };
        }
        match (content, kind) {
            (_, Kind::Null) => Ok(()),
            (Type::Any, _) => Ok(()),
            (Type::Enum(symbols), Kind::Text) => symbol(symbols, json),
            (Type::Struct(fields), Kind::Object) => self.object(fields, json, depth + 1, false),
            (Type::List(element), Kind::List) => {
                json::elements(json, &mut |value| self.value(element, value, depth + 1))
            }
            (Type::Map(value), Kind::Object) => json::members(json, &mut |name, json| {
                self.value(value, json, depth + 1).map_err(|misfit| misfit.within(&name))
            }),
            (Type::Scalar(scalar), Kind::Bool | Kind::Number | Kind::Text) => {
                if scalar.is_inferred() && !self.is_given {
                    *scalar = scalar.widened(Seen::of(json, kind));
                }
                cell::read(*scalar, json).map(|_| ())
            }
            (content, kind) => Err(Misfit::new(format!("is {}, but its column holds {}", kind.name(), content.name()))),
        }
    }
}

impl Type {
    fn for_avro(self) -> Result<Self, Misfit> {
        Ok(match self {
            Self::Struct(fields) => Self::Struct(fields.for_avro()?),
            Self::List(element) => Self::List(Box::new(element.for_avro()?)),
            Self::Map(value) => Self::Map(Box::new(value.for_avro()?)),
            Self::Unknown | Self::Any | Self::Scalar(_) | Self::Enum(_) => self,
        })
    }

    /// Whether there is a type for anything in it: what has none is in no file.
    pub(super) fn is_known(&self) -> bool {
        match self {
            Self::Unknown => false,
            Self::Any | Self::Scalar(_) | Self::Enum(_) => true,
            Self::Struct(fields) => fields.iter().any(|field| field.content.is_known()),
            Self::List(element) | Self::Map(element) => element.is_known(),
        }
    }

    fn name(&self) -> Cow<'static, str> {
        match self {
            Self::Unknown => Cow::Borrowed("nulls"),
            Self::Any => Cow::Borrowed("anything"),
            Self::Scalar(scalar) => scalar.name(),
            Self::Enum(_) => Cow::Borrowed("some texts alone"),
            Self::Struct(_) | Self::Map(_) => Cow::Borrowed("objects"),
            Self::List(_) => Cow::Borrowed("lists"),
        }
    }
}
