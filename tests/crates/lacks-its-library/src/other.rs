// The library that the manifest names was not packaged.
