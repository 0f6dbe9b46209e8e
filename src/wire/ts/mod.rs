//! MPEG-2 transport stream (ISO/IEC 13818-1): bytes → packets → sections and PES headers; and in [`mux`] the way back.

mod descriptor;
mod format;
pub mod mux;
mod packet;
mod pes;
mod psi;
mod sync;

pub use descriptor::Descriptors;
pub use format::{codec_of, language_of};
pub use packet::{Continuity, PACKET_BYTES, Packet, PacketError, Step};
pub use pes::{PES_HEADER_MAX, PesHeader, PesHeaderError};
pub use psi::{Pat, PatSection, Pmt, PsiError, Section, SectionReader, Stream, crc32};
pub use sync::Framer;

/// PID of the programme association table (Table 2-3).
pub const PAT_PID: u16 = 0;
/// PID of packets that carry nothing (Table 2-3).
pub const NULL_PID: u16 = 0x1fff;
/// Number of PIDs there are.
pub const PIDS: usize = 0x2000;
