"""The model: load it, give added pieces their rows, count FLOPs and bytes.

flops     config -> parameters, FLOPs per token          (pure arithmetic, no torch)
memory    config -> bytes of one process, of one checkpoint (the same)
devices   device name -> peak FLOP/s
describe  all of it as lines for a person
segments  base subwords of every added piece
rows      base rows + segments -> rows of added pieces
expand    safetensors files with longer tables, one file at a time
folder    what a Hugging Face folder holds: sharded safetensors, tokenizer files, digest of the weights
source    a pretrained folder: found, and refused unless it is a Llama computed as its makers did
weights   base model + vocabulary -> the start weights of a run
attention which attention runs; masks that keep it inside documents
loss      summed cross-entropy: whole, in chunks of positions, or fused
llama     the library's Llama with that loss inside its forward pass
layers    how a decoder layer is computed: recomputation, compilation, kernels
load_model  Hugging Face folder -> LlamaForCausalLM, sharded over processes
"""
