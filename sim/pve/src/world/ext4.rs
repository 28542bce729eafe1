//! Space for files in an ext4 file system with the default layout of `mkfs.ext4`. A running container's `maxdisk` shows
//! this space.

/// Bytes per inode.
const INODE: u64 = 256;
/// Bytes per group descriptor.
const DESCRIPTOR: u64 = 64;
/// Factor of growth for which group descriptors are reserved.
const GROWTH: u64 = 1024;

/// Returns the bytes for files in a file system on a volume of `size` bytes.
pub(crate) fn capacity(size: u64) -> u64 {
    let small = size < 512 << 20;
    let (block, bytes_per_inode) = if small { (1024, 4096) } else { (4096, 16_384) };
    let first = u64::from(small);
    let blocks = size / block;
    let per_group = 8 * block;
    let groups = blocks.saturating_sub(first).div_ceil(per_group);
    let descriptors = (groups * DESCRIPTOR).div_ceil(block);
    let grown = (blocks * GROWTH).div_ceil(per_group);
    let reserved = (grown * DESCRIPTOR).div_ceil(block).saturating_sub(descriptors).min(block / 4);
    let copies: u64 = (0..groups).map(|group| u64::from(has_superblock(group))).sum();
    let inodes = (size / bytes_per_inode * INODE).div_ceil(block);
    let overhead = first + copies * (1 + descriptors + reserved) + 2 * groups + inodes + journal(blocks);
    blocks.saturating_sub(overhead) * block
}

/// Returns true if the group has a copy of the superblock: groups 0 and 1, and powers of 3, 5 and 7.
fn has_superblock(group: u64) -> bool {
    let power = |base: u64| std::iter::successors(Some(base), move |n| n.checked_mul(base)).take_while(|n| *n <= group);
    group <= 1 || [3, 5, 7].into_iter().any(|base| power(base).any(|n| n == group))
}

/// Returns the number of blocks of the journal.
fn journal(blocks: u64) -> u64 {
    match blocks >> 10 {
        0..2 => 0,
        2..32 => 1024,
        32..256 => 4096,
        256..512 => 8192,
        512..4096 => 16_384,
        4096..8192 => 32_768,
        8192..16_384 => 65_536,
        16_384..32_768 => 131_072,
        _ => 262_144,
    }
}

#[cfg(test)]
mod tests {
    use super::capacity;

    /// Size in MiB, bytes per block, number of blocks, and overhead in blocks, measured by `dumpe2fs -h` on file
    /// systems of `mke2fs` 1.47.
    const MEASURED: [(u64, u64, u64, u64); 8] = [
        (32, 1024, 32_768, 6924),
        (64, 1024, 65_536, 9499),
        (128, 1024, 131_072, 13_869),
        (400, 1024, 409_600, 36_242),
        (600, 4096, 153_600, 6734),
        (1024, 4096, 262_144, 12_949),
        (8192, 4096, 2_097_152, 58_505),
        (32_768, 4096, 8_388_608, 209_468),
    ];

    #[test]
    fn capacities_are_those_of_mke2fs() {
        for (size, block, blocks, overhead) in MEASURED {
            assert_eq!(capacity(size << 20), (blocks - overhead) * block, "{size} MiB");
        }
    }
}
