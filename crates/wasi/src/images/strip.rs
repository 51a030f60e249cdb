//! Splits a guest module into its code and the initial content of its memory.
//!
//! The stripped module has no active data segments and exports its mutable globals. So the memory
//! image is the only source of an instance's memory: one compilation serves every image made from
//! the guest, and a reset needs no knowledge of the module. [`crate::memory`] says why there is no
//! other state.

#[cfg(test)]
mod tests;

use wasm_encoder::{DataSection, ExportKind, ExportSection, GlobalSection, RawSection, SectionId};
use wasmparser::{
    DataKind, ElementKind, ExternalKind, Operator, Parser, Payload, TypeRef, ValType,
};

use crate::memory::{RestGlobal, WASM_PAGE};

/// A guest, split into its parts.
pub struct Stripped {
    /// The module without data.
    pub wasm: Vec<u8>,
    /// The initial content of its memory, without the zeros at its end.
    pub memory: Vec<u8>,
    /// Its mutable globals.
    pub globals: Vec<RestGlobal>,
    /// The number of functions that it defines, the unit of the compiler's progress.
    pub functions: u64,
}

/// The reason why a module cannot be a guest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StripError {
    /// It is not a valid WebAssembly module.
    #[error("not a valid WebAssembly module")]
    Parse(#[from] wasmparser::BinaryReaderError),
    /// It has state outside its memory and its `i32` globals.
    #[error("the guest keeps state that a memory image cannot hold: {0}")]
    State(&'static str),
    /// A data segment does not fit into its memory, so no instance of it could start.
    #[error("a data segment of the guest lies outside its memory")]
    Outside,
}

/// Splits the module `wasm`.
///
/// # Errors
/// [`StripError`] for a module with more state than one memory and mutable `i32` globals.
pub fn strip(wasm: &[u8]) -> Result<Stripped, StripError> {
    let mut module = wasm_encoder::Module::new();
    let mut stripped =
        Stripped { wasm: Vec::new(), memory: Vec::new(), globals: Vec::new(), functions: 0 };
    let mut memories = Vec::new();
    let mut exports = ExportSection::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload?;
        refuse_state(&payload)?;
        match &payload {
            Payload::MemorySection(reader) => {
                for memory in reader.clone() {
                    memories.push(memory?.initial * WASM_PAGE);
                }
            }
            Payload::GlobalSection(reader) => {
                module.section(&copy_globals(reader.clone(), &mut stripped.globals, &mut exports)?);
                continue;
            }
            Payload::ExportSection(reader) => {
                for export in reader.clone() {
                    let export = export?;
                    exports.export(export.name, export_kind(export.kind)?, export.index);
                }
                module.section(&exports);
                continue;
            }
            Payload::CodeSectionStart { range, count, .. } => {
                stripped.functions = u64::from(*count);
                // If the section is cut off, reading its entries fails.
                let data = wasm.get(range.clone()).unwrap_or_default();
                module.section(&RawSection { id: SectionId::Code as u8, data });
                continue;
            }
            Payload::CodeSectionEntry(_) => continue,
            Payload::DataSection(reader) => {
                // The memory section comes before the data section.
                let bytes = memories.first().copied().unwrap_or_default();
                module.section(&empty_data(reader.clone(), bytes, &mut stripped.memory)?);
                continue;
            }
            // Names and build notes: megabytes that are not used here.
            Payload::CustomSection(_) => continue,
            _ => {}
        }
        if let Some((id, range)) = payload.as_section() {
            module.section(&RawSection { id, data: &wasm[range] });
        }
    }
    if memories.len() != 1 {
        return Err(StripError::State("it does not define exactly one memory"));
    }
    stripped.wasm = module.finish();
    Ok(stripped)
}

/// Refuses a part of a module that has or makes state outside its memory and its globals.
fn refuse_state(payload: &Payload<'_>) -> Result<(), StripError> {
    match payload {
        Payload::ImportSection(reader) => {
            for import in reader.clone().into_imports() {
                if !matches!(import?.ty, TypeRef::Func(_)) {
                    return Err(StripError::State("it imports something that is not a function"));
                }
            }
        }
        Payload::MemorySection(reader) => {
            for memory in reader.clone() {
                let memory = memory?;
                if memory.shared || memory.memory64 {
                    return Err(StripError::State("its memory is shared or 64-bit"));
                }
            }
        }
        // It would run again in every instance, on an empty memory that the image then hides.
        Payload::StartSection { .. } => {
            return Err(StripError::State("it runs code when it is instantiated"));
        }
        Payload::ElementSection(reader) => {
            for element in reader.clone() {
                if matches!(element?.kind, ElementKind::Passive) {
                    return Err(StripError::State("it has passive element segments"));
                }
            }
        }
        Payload::CodeSectionEntry(body) => refuse_table_writes(body)?,
        _ => {}
    }
    Ok(())
}

/// Copies the globals, and exports the mutable ones by names of their own.
fn copy_globals(
    reader: wasmparser::GlobalSectionReader<'_>,
    rest: &mut Vec<RestGlobal>,
    exports: &mut ExportSection,
) -> Result<GlobalSection, StripError> {
    let mut section = GlobalSection::new();
    for (index, global) in (0u32..).zip(reader) {
        let global = global?;
        let value = match (global.ty.content_type, constant(&global.init_expr)?) {
            (ValType::I32, Some(value)) => value,
            _ => return Err(StripError::State("a global is not an i32 constant")),
        };
        section.global(
            wasm_encoder::GlobalType {
                val_type: wasm_encoder::ValType::I32,
                mutable: global.ty.mutable,
                shared: global.ty.shared,
            },
            &wasm_encoder::ConstExpr::i32_const(value),
        );
        if global.ty.mutable {
            let export = format!("cellblock:global:{index}");
            exports.export(&export, ExportKind::Global, index);
            rest.push(RestGlobal { export, value });
        }
    }
    Ok(section)
}

/// Returns the value of an expression that is one `i32.const`.
fn constant(expression: &wasmparser::ConstExpr<'_>) -> Result<Option<i32>, StripError> {
    let mut operators = expression.get_operators_reader();
    Ok(match (operators.read()?, operators.read()?) {
        (Operator::I32Const { value }, Operator::End) => Some(value),
        _ => None,
    })
}

/// Writes active segments into `memory`, which can grow to `bytes`. Each is replaced by an empty
/// passive segment, so that indices do not change.
fn empty_data(
    reader: wasmparser::DataSectionReader<'_>,
    bytes: u64,
    memory: &mut Vec<u8>,
) -> Result<DataSection, StripError> {
    let mut section = DataSection::new();
    for data in reader {
        let data = data?;
        match data.kind {
            DataKind::Passive => {
                // A dropped segment would be state: `data.drop` discards its content.
                if !data.data.is_empty() {
                    return Err(StripError::State("it has passive data segments with content"));
                }
            }
            DataKind::Active { offset_expr, .. } => {
                let Some(value) = constant(&offset_expr)? else {
                    return Err(StripError::State("the place of a data segment is not a constant"));
                };
                let start = value as u32 as usize;
                let end = start + data.data.len();
                if end as u64 > bytes {
                    return Err(StripError::Outside);
                }
                if memory.len() < end {
                    memory.resize(end, 0);
                }
                memory[start..end].copy_from_slice(data.data);
            }
        }
        section.passive([]);
    }
    Ok(section)
}

/// Refuses code that writes to a table, which would be state outside the memory image.
fn refuse_table_writes(body: &wasmparser::FunctionBody<'_>) -> Result<(), StripError> {
    let mut operators = body.get_operators_reader()?;
    while !operators.eof() {
        match operators.read()? {
            Operator::TableSet { .. }
            | Operator::TableGrow { .. }
            | Operator::TableFill { .. }
            | Operator::TableCopy { .. }
            | Operator::TableInit { .. } => {
                return Err(StripError::State("its code writes to a table"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn export_kind(kind: ExternalKind) -> Result<ExportKind, StripError> {
    Ok(match kind {
        ExternalKind::Func | ExternalKind::FuncExact => ExportKind::Func,
        ExternalKind::Table => ExportKind::Table,
        ExternalKind::Memory => ExportKind::Memory,
        ExternalKind::Global => ExportKind::Global,
        ExternalKind::Tag => ExportKind::Tag,
    })
}
