cd /tmp/h/ray1
for i in 1 2 3 4 5 6; do setsid timeout 280 python3 -c "
while True: pass" & done
for i in $(seq 1 8); do PYTHONPATH=$PWD timeout 120 /work/main/.venv/bin/python -m pytest -n 0 -q -x tests/rollouts/on_ray/test_on_ray.py -k killed -p no:cacheprovider 2>&1 | tail -150 > out$i.txt; tail -1 out$i.txt; done
pkill -f 'while True: pass'
