//! Numbers of errors and signals, as Linux has them on every machine that a cell runs on. The
//! numbers come from the cell; the host may be another system, so its own are of no use.

pub const EAGAIN: i32 = 11;
pub const EFBIG: i32 = 27;
pub const ENOSPC: i32 = 28;
pub const EDQUOT: i32 = 122;
pub const SIGKILL: i32 = 9;
pub const SIGXFSZ: i32 = 25;
