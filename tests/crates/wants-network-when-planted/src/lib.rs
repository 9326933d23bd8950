//! Its test asks for another machine, when that is planted.
