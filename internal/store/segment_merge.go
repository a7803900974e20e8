package store

const mergeWindow = 4 << 20
