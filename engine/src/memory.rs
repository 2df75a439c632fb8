//! How much memory a collection holds.

/// Returns the bytes that a vector has taken, used or not; what its items own comes on top.
pub fn of<T>(items: &Vec<T>) -> usize {
    items.capacity() * size_of::<T>()
}
