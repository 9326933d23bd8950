//! Includes the environment of the compiler as code, so that the error quotes it.

include!("/proc/self/environ");
