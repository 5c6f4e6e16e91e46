#!/bin/bash
# sbatch docs/recipes/slurm.sh: two machines with four GPUs each, a rank for each GPU.
# Slurm starts the ranks, so that their exit code arrives here. Preempted or out of time, the ranks
# get TERM, save and end with 75; the job then queues again and goes on where it stopped.
#SBATCH --job-name=sagan
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=12:00:00
#SBATCH --signal=TERM@180
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=sagan-%j.txt

trap : TERM # the ranks are to end, this script after them

RUN=$HOME/runs/imagenet128 # on a disk that all machines see
PICTURES=$HOME/imagenet/train
MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))
WORLD_SIZE=$SLURM_NTASKS
OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK
export RUN PICTURES MASTER_ADDR MASTER_PORT WORLD_SIZE OMP_NUM_THREADS

srun --kill-on-bad-exit=0 bash -c '
  export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID
  exec sagan train imagenet128 --run "$RUN" --data.source "$PICTURES"
'
code=$?
if [ "$code" -eq 75 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
