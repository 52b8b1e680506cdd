//! Saving and loading an [`AttentionIndex`].

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sparrow_kernels::{Buffer, MappedFile, f16};

use crate::attention_index::{AttentionIndex, BuildOptions, encode_centroids};
use crate::byte_keys::ByteKeys;
use crate::container::{Reader, Source, Writer};
use crate::error::{IndexError, Result};
use crate::geometry::Geometry;
use crate::graph::{Adjacency, BOUND, Entries, Graph};
use crate::partition::Partition;
use crate::quantiser::Quantiser;
use crate::rows::MAX_DIM;
use crate::strategy::Strategy;
use crate::vector_index::VectorIndex;

impl AttentionIndex {
    /// Writes the index to `path`: under a temporary name first, so that a reader of `path` never sees half a file. Where `path` is a symbolic
    /// link, the file that it leads to is replaced or made; what is no file (a device, a pipe) is refused, since the new file would take its place.
    pub fn save(&self, path: &str) -> Result<()> {
        // A name for each call: two threads may save to one path.
        static SAVED: AtomicU64 = AtomicU64::new(0);
        let failed = |error: std::io::Error| IndexError::Io(format!("write index {path}: {error}"));
        let target = replaced(Path::new(path)).map_err(failed)?;
        let number = SAVED.fetch_add(1, Ordering::Relaxed);
        let mut temporary = target.clone().into_os_string();
        temporary.push(format!(".{}.{number}.tmp", std::process::id()));
        let write = || -> std::io::Result<()> {
            let mut file = std::fs::File::create(&temporary)?;
            file.write_all(&self.to_bytes())?;
            file.sync_all()?;
            std::fs::rename(&temporary, &target)
        };
        write().map_err(|error| {
            // The temporary file may not exist; the first error is the one to report.
            let _ = std::fs::remove_file(&temporary);
            failed(error)
        })
    }

    /// The index as a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        let kind = match self.strategy {
            Strategy::Graph { .. } => 0,
            Strategy::Clusters { .. } => 1,
            Strategy::Flat { .. } => 2,
        };
        let effort = self.strategy.effort() as u32;
        let (low, high) = (self.seed as u32, (self.seed >> 32) as u32);
        let stride = self.graph.as_ref().map_or(0, |graph| graph.adjacency.stride() as u32);
        let repaired = self.repaired() as u32;
        let size = self.cluster_size as u32;
        let (dim, len, wanted) = (self.dim as u32, self.len() as u32, self.wanted as u32);
        let opened = self.opened.to_bits();
        writer.add("meta", &[dim, len, kind, effort, low, high, size, stride, repaired, wanted, opened]);
        writer.add("ids", &self.ids);
        writer.add("halves", &self.halves);
        for (name, codes) in [("codes", self.codes.rows()), ("code_blocks", self.codes.blocks())] {
            if let Some(codes) = codes {
                writer.add(name, codes);
            }
        }
        writer.add("quantiser", &self.quantiser.parameters());
        writer.add("geometry", self.geometry.factor());
        writer.add("starts", &self.partition.starts);
        writer.add("centroids", &self.partition.centroids());
        writer.add("spreads", &self.partition.spreads);
        writer.add("radii", &self.partition.radii);
        if let Some(graph) = &self.graph {
            let (centroids, nodes) = graph.entries.parts();
            writer.add("edges", graph.adjacency.edges());
            writer.add("entry_centroids", &centroids);
            writer.add("entry_nodes", nodes);
        }
        writer.finish()
    }

    /// Opens an index file in place: rows are read from it as they are searched. The file must not be changed while the
    /// index lives.
    pub fn open(path: &str) -> Result<Self> {
        let file = MappedFile::open(path).map_err(|error| IndexError::Io(format!("open index {path}: {error}")))?;
        Self::read(&Reader::open(Source::File(&file))?)
    }

    /// As [`AttentionIndex::open`] from memory, copying.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::read(&Reader::open(Source::Bytes(bytes))?)
    }

    fn read(reader: &Reader<'_>) -> Result<Self> {
        let wrong = |what: String| IndexError::Format(format!("index file: {what}"));
        let meta = reader.section::<u32>("meta")?;
        let [dim, len, kind, effort, low, high, size, stride, repaired, ref later @ ..] = meta[..] else {
            return Err(wrong(format!("section \"meta\" has {} numbers, expected 9 at least", meta.len())));
        };
        // Files did not always say what their recall was measured for.
        let wanted = later.first().map_or(BuildOptions::default().k, |wanted| *wanted as usize);
        let (dim, len) = (dim as usize, len as usize);
        if dim == 0 || dim > MAX_DIM || len == 0 || len >= 1 << 31 || size == 0 || wanted == 0 {
            return Err(wrong(format!("{len} keys of dimension {dim} in clusters of {size}, measured for {wanted}")));
        }
        if effort == 0 {
            return Err(wrong("its searches keep, probe or score 0 keys or clusters, expected 1 at least".into()));
        }
        let strategy = match kind {
            0 => Strategy::Graph { pool: effort },
            1 => Strategy::Clusters { probes: effort },
            2 => Strategy::Flat { rerank: effort },
            _ => return Err(wrong(format!("strategy {kind}, expected 0 to 2"))),
        };
        let ids = sized::<u32>(reader, "ids", len)?;
        let halves = sized::<f16>(reader, "halves", len * dim)?;
        // Their scores would be no numbers either.
        if let Some(place) = halves.iter().position(|x| !x.is_finite()) {
            let (row, column) = (place / dim, place % dim);
            return Err(wrong(format!("element {column} of key {row} is {}, expected a finite number", halves[place])));
        }
        let quantiser = Quantiser::from_parameters(&reader.section::<f32>("quantiser")?, dim)
            .ok_or_else(|| wrong("section \"quantiser\" holds no steps".into()))?;
        let geometry = Geometry::from_factor(&reader.section::<f32>("geometry")?, dim)
            .ok_or_else(|| wrong("section \"geometry\" holds no factor".into()))?;
        let list = |name: &str| reader.section::<f32>(name).map(|values| values.to_vec());
        let starts = reader.section::<u32>("starts")?.to_vec();
        let partition = Partition::from_parts(starts, list("centroids")?, list("spreads")?, list("radii")?, dim)
            .filter(|partition| partition.keys() <= len)
            .ok_or_else(|| wrong("the clusters do not fit each other".into()))?;
        check_ids(&ids, partition.keys())?;
        let layout = |name: &str, wanted: bool| wanted.then(|| reader.section::<u8>(name)).transpose();
        let codes = ByteKeys::from_parts(dim, len, layout("codes", stride > 0)?, layout("code_blocks", kind != 0)?)
            .ok_or_else(|| wrong(format!("the bytes are not those of {len} keys")))?;
        let graph = if stride > 0 { Some(read_graph(reader, &partition, stride, repaired, dim)?) } else { None };
        if graph.is_none() && kind == 0 {
            return Err(wrong("its strategy is a graph, but it has none".into()));
        }
        let mut index = Self {
            dim,
            seed: u64::from(low) | u64::from(high) << 32,
            cluster_size: size as usize,
            ids,
            halves,
            codes,
            centroids: encode_centroids(&quantiser, &partition, dim),
            quantiser,
            geometry,
            partition,
            graph,
            strategy,
            opened: 0.0,
            wanted,
            measured: Vec::new(),
        };
        index.set_strategy(strategy);
        // Nor which share of their clusters that opened before keys were appended.
        if let Some(opened) = later.get(1).map(|bits| f32::from_bits(*bits)) {
            if !(opened.is_finite() && opened >= 0.0) {
                return Err(wrong(format!("a search opens {opened} of the clusters, expected a share")));
            }
            index.opened = opened;
        }
        Ok(index)
    }
}

/// The file that saving to `path` replaces or makes: `path`, or what it leads to as a symbolic link.
fn replaced(path: &Path) -> std::io::Result<PathBuf> {
    let target = match std::fs::canonicalize(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return match std::fs::read_link(path) {
                // A link to what is not there yet. Links in a ring are another error: this ends.
                Ok(next) => replaced(&path.parent().unwrap_or(Path::new("")).join(next)),
                Err(_) => Ok(path.into()),
            };
        }
        found => found?,
    };
    if !std::fs::metadata(&target)?.is_file() {
        return Err(std::io::Error::new(
            ErrorKind::InvalidInput,
            "it exists and is no file, expected a file or a new name",
        ));
    }
    Ok(target)
}

fn read_graph(reader: &Reader<'_>, partition: &Partition, stride: u32, repaired: u32, dim: usize) -> Result<Graph> {
    let nodes = partition.keys();
    let adjacency = Adjacency::from_edges(reader.section("edges")?, stride as usize)
        // Keys that are appended get lists of this length.
        .filter(|adjacency| adjacency.len() == nodes && adjacency.stride() >= BOUND)
        .ok_or_else(|| IndexError::Format(format!("index file: section \"edges\" is no graph of {nodes} keys")))?;
    let centroids = reader.section::<f32>("entry_centroids")?.to_vec();
    let entries = Entries::from_parts(centroids, reader.section("entry_nodes")?, dim, nodes)
        .ok_or_else(|| IndexError::Format("index file: the entry points do not fit the graph".into()))?;
    Ok(Graph { adjacency, entries, repaired: repaired as usize })
}

fn sized<T: sparrow_kernels::Pod>(reader: &Reader<'_>, name: &str, len: usize) -> Result<Buffer<T>> {
    let buffer = reader.section::<T>(name)?;
    if buffer.len() != len {
        let found = buffer.len();
        return Err(IndexError::Format(format!("index file: section \"{name}\" has {found} elements, expected {len}")));
    }
    Ok(buffer)
}

/// Clusters hold a permutation of the first keys; the tail is in order.
fn check_ids(ids: &[u32], clustered: usize) -> Result<()> {
    let mut seen = vec![false; clustered];
    let good = ids.iter().enumerate().all(|(place, id)| {
        if place >= clustered {
            return *id as usize == place;
        }
        (*id as usize) < clustered && !std::mem::replace(&mut seen[*id as usize], true)
    });
    if good {
        Ok(())
    } else {
        Err(IndexError::Format("index file: section \"ids\" is no permutation of the keys".into()))
    }
}
