//! ISO base media file format (ISO/IEC 14496-12) and CMAF (ISO/IEC 23000-19): what we write.
